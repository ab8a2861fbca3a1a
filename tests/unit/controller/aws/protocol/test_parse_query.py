"""What clients send that botocore would not: other list forms, wrong types, floods."""

import contextlib
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.form import MAX_FIELDS
from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest, InvalidParameter, MissingParameter, SteadError, UnknownParameter

FORM = "application/x-www-form-urlencoded"


def request(
    body: str | bytes = "", *, query: str = "", method: str = "POST", content_type: str | None = FORM
) -> Request:
    headers = (("Content-Type", content_type),) if content_type else ()
    raw = body.encode() if isinstance(body, str) else body
    return Request(method, "/", query, headers, raw, "127.0.0.1")


def parse(operation: str, body: str | bytes, service: str = "ec2", **options: Any) -> dict[str, Any]:
    return codec_for(service).parse(operation, request(body, **options))


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        ("DescribeInstances", "InstanceId.1=i-a&InstanceId.2=i-b", {"InstanceIds": ["i-a", "i-b"]}),
        ("DescribeInstances", "InstanceId.0=i-a&InstanceId.1=i-b", {"InstanceIds": ["i-a", "i-b"]}),
        ("DescribeInstances", "InstanceId.10=i-b&InstanceId.9=i-a", {"InstanceIds": ["i-a", "i-b"]}),
        ("DescribeInstances", "InstanceId.9999999999=i-b&InstanceId.5=i-a", {"InstanceIds": ["i-a", "i-b"]}),
        ("DescribeInstances", "InstanceId=", {"InstanceIds": []}),
        ("DescribeInstances", "InstanceId=i-a", {"InstanceIds": ["i-a"]}),
        ("GetConsoleOutput", "InstanceId.1=i-a", {"InstanceId": "i-a"}),
        ("DescribeInstances", "Filter.1.Name=x&Filter.1.Value=a", {"Filters": [{"Name": "x", "Values": ["a"]}]}),
        ("DescribeInstances", "Filter.1.Name=x&Filter.1.Value.1=a+b%20c%2B", {"Filters": [{"Name": "x", "Values": ["a b c+"]}]}),
        ("DescribeInstances", "DryRun=TRUE&MaxResults=5", {"DryRun": True, "MaxResults": 5}),
        ("RunInstances", "MinCount=1&MaxCount=1&SecurityGroup.1=web", {"MinCount": 1, "MaxCount": 1, "SecurityGroups": ["web"]}),
        ("RunInstances", "MinCount=1&MaxCount=1&UserData=aGk%3D", {"MinCount": 1, "MaxCount": 1, "UserData": "aGk="}),
        ("ImportKeyPair", "KeyName=a&PublicKeyMaterial=c3NoLXJz%0AYQ%3D%3D", {"KeyName": "a", "PublicKeyMaterial": b"ssh-rsa"}),
        ("DescribeSpotPriceHistory", "StartTime=2026-01-02T03:04:05.678Z", {"StartTime": datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)}),
        ("DescribeSpotPriceHistory", "StartTime=2026-01-02T03:04:05%2B02:00", {"StartTime": datetime(2026, 1, 2, 1, 4, 5, 0, UTC)}),
        ("DescribeSpotPriceHistory", "StartTime=2026-01-02", {"StartTime": datetime(2026, 1, 2, 0, 0, 0, 0, UTC)}),
    ],
)  # fmt: skip
def test_reads(operation: str, body: str, expected: dict[str, Any]) -> None:
    assert parse(operation, body) == expected


@pytest.mark.parametrize(
    ("operation", "body", "error", "named"),
    [
        ("DescribeInstances", "Bogus=1", UnknownParameter, "Bogus"),
        ("DescribeInstances", "instanceId.1=i-a", UnknownParameter, "instanceId"),
        ("DescribeInstances", "InstanceId.1.X=1", UnknownParameter, "InstanceId.1.X"),
        ("GetConsoleOutput", "InstanceId.2=i-a", UnknownParameter, "InstanceId.2"),
        ("GetConsoleOutput", "InstanceId.1=i-a&InstanceId.2=i-b", UnknownParameter, "InstanceId.1"),
        ("GetConsoleOutput", "InstanceId.1.1=i-a", UnknownParameter, "InstanceId.1"),
        ("DescribeInstances", "InstanceId.x=1", UnknownParameter, "InstanceId.x"),
        ("DescribeInstances", "InstanceId.-1=1", UnknownParameter, "InstanceId.-1"),
        ("DescribeInstances", "InstanceId.٣=1", UnknownParameter, "InstanceId"),
        ("DescribeInstances", "InstanceId.11111111111=1", UnknownParameter, "InstanceId"),
        ("DescribeInstances", "InstanceId.1=a&InstanceId.01=b", InvalidParameter, "InstanceId.1"),
        ("DescribeInstances", "InstanceId=i-a&InstanceId.1=i-b", BadRequest, "InstanceId"),
        ("DescribeInstances", "Filter=x", InvalidParameter, "Filter must be a list"),
        ("DescribeInstances", "Filter.1=x", InvalidParameter, "Filter.1"),
        ("DescribeInstances", "Filter.1.Name=x&Filter.1=y", BadRequest, "Filter.1"),
        ("DescribeInstances", "Filter.1=y&Filter.1.Name=x", BadRequest, "Filter.1"),
        ("DescribeInstances", "MaxResults=1&MaxResults=2", BadRequest, "MaxResults"),
        ("DescribeInstances", "MaxResults=five", InvalidParameter, "MaxResults"),
        ("DescribeInstances", "MaxResults=1_0", InvalidParameter, "MaxResults"),
        ("DescribeInstances", "MaxResults=%2B7", InvalidParameter, "MaxResults"),
        ("DescribeInstances", "MaxResults=", InvalidParameter, "MaxResults"),
        ("DescribeInstances", "MaxResults=99999999999999999999999999", InvalidParameter, "MaxResults"),
        ("DescribeInstances", "MaxResults=4294967296", InvalidParameter, "MaxResults"),
        ("DescribeInstances", "DryRun=yes", InvalidParameter, "DryRun"),
        ("RunInstances", "MinCount=1", MissingParameter, "MaxCount"),
        ("AttachVolume", "VolumeId=vol-1&InstanceId=i-1", MissingParameter, "Device"),
        ("ImportKeyPair", "KeyName=a&PublicKeyMaterial=c3Nox", InvalidParameter, "PublicKeyMaterial"),
        (
            "ImportKeyPair",
            "KeyName=a&PublicKeyMaterial=%C3%A9%C3%A9%C3%A9%C3%A9",
            InvalidParameter,
            "PublicKeyMaterial",
        ),
        ("DescribeSpotPriceHistory", "StartTime=yesterday", InvalidParameter, "StartTime"),
        ("DescribeSpotPriceHistory", "StartTime=2026-13-01T00:00:00Z", InvalidParameter, "StartTime"),
        ("DescribeSpotPriceHistory", "StartTime=0001-01-01T00:00:00%2B14:00", InvalidParameter, "StartTime"),
        ("DescribeInstances", "a=%zz", BadRequest, "escape"),
        ("DescribeInstances", "a=%ff", BadRequest, "UTF-8"),
        ("DescribeInstances", b"a=\xff", BadRequest, "UTF-8"),
        ("DescribeInstances", ".".join(["a"] * 1000) + "=1", UnknownParameter, "a.a"),
    ],
)
def test_refuses(operation: str, body: str | bytes, error: type[SteadError], named: str) -> None:
    with pytest.raises(error, match=named.replace(".", r"\.")) as caught:
        parse(operation, body)
    assert len(caught.value.message) < 500


def test_parameters_may_stand_in_query_string_and_body() -> None:
    read = codec_for("ec2").parse("DescribeInstances", request("InstanceId.2=i-b", query="InstanceId.1=i-a"))
    assert read == {"InstanceIds": ["i-a", "i-b"]}
    same = codec_for("ec2").parse("DescribeInstances", request("MaxResults=7", query="MaxResults=7"))
    assert same == {"MaxResults": 7}


def test_parameters_of_a_presigned_url_are_not_the_operations() -> None:
    query = "Action=DescribeInstances&Version=2016-11-15&X-Amz-Signature=ab&X-Amz-Expires=60&X-Amz-Date=x&MaxResults=9"
    assert codec_for("ec2").parse("DescribeInstances", request(query=query, method="GET")) == {"MaxResults": 9}


@pytest.mark.parametrize(
    ("content_type", "accepted"),
    [
        ("application/x-www-form-urlencoded", True),
        ("application/x-www-form-urlencoded; charset=utf-8", True),
        ('Application/X-WWW-Form-URLEncoded;charset="UTF-8"', True),
        (None, True),
        ("application/x-www-form-urlencoded; charset=latin-1", False),
        ("application/json", False),
        ("multipart/form-data; boundary=x", False),
    ],
)
def test_body_must_be_a_form_in_utf8(content_type: str | None, accepted: bool) -> None:
    wire = request("MaxResults=7", content_type=content_type)
    if accepted:
        assert codec_for("ec2").parse("DescribeInstances", wire) == {"MaxResults": 7}
    else:
        with pytest.raises(BadRequest):
            codec_for("ec2").parse("DescribeInstances", wire)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "MissingAction"),
        ("Action=", "MissingAction"),
        ("Action=DescribeUnicorns", "InvalidAction"),
        ("Action=GetCallerIdentity", "InvalidAction"),
        ("Action=DescribeInstances&Version=1999-01-01", "NoSuchVersion"),
    ],
)
def test_operation_must_exist(body: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        codec_for("ec2").operation_name(request(body))
    assert caught.value.code == code


@pytest.mark.parametrize("version", ["", "&Version=2016-11-15", "&Version=2013-10-15", "&Version=2014-10-01"])
def test_every_version_that_ec2_had_is_accepted(version: str) -> None:
    assert codec_for("ec2").operation_name(request(f"Action=DescribeInstances{version}")) == "DescribeInstances"


def test_other_methods_are_refused() -> None:
    with pytest.raises(BadRequest):
        codec_for("ec2").operation_name(request("Action=DescribeInstances", method="PUT"))


def test_the_query_protocol_reads_lists_and_maps() -> None:
    assert parse("AddUserToGroup", "UserName=u&GroupName=g", "iam") == {"UserName": "u", "GroupName": "g"}
    body = "UserName=u&Tags.member.2.Key=b&Tags.member.2.Value=2&Tags.member.1.Key=a&Tags.member.1.Value="
    assert parse("TagUser", body, "iam") == {"UserName": "u", "Tags": [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}]}  # fmt: skip
    assert parse("TagUser", "UserName=u&Tags=", "iam") == {"UserName": "u", "Tags": []}
    with pytest.raises(UnknownParameter):
        parse("TagUser", "UserName=u&Tags.1.Key=a", "iam")
    with pytest.raises(InvalidParameter):
        parse("UntagUser", "UserName=u&TagKeys=a", "iam")
    with pytest.raises(UnknownParameter):
        parse("TagUser", "UserName=u&Tags.member.1.Key=a&Tags.member.1.Value=b&Tags.x=c", "iam")


def test_too_many_parameters_are_refused() -> None:
    body = "&".join(f"InstanceId.{n}=i" for n in range(MAX_FIELDS + 1))
    with pytest.raises(BadRequest) as caught:
        parse("DescribeInstances", body)
    assert caught.value.code == "MalformedQueryString"


def test_hostile_bodies_cost_little() -> None:
    """A body of 1 MiB of the worst kind: some seconds at most, and no more than 64 MiB."""
    bodies = [
        "&".join(f"InstanceId.{10**9 - n}=i-{n}" for n in range(MAX_FIELDS)),
        "&".join(f"Filter.{n}.Value.{n * n}=x" for n in range(MAX_FIELDS)),
        "&".join(f"{'a.' * 30}{n}=" for n in range(MAX_FIELDS)),
        "a=" + "%25" * 300_000,
        "." * (1 << 20),
        "=" * (1 << 20),
        "&" * (1 << 20),
    ]
    for body in bodies:
        tracemalloc.start()
        begun = time.process_time()
        with contextlib.suppress(SteadError):  # read or refused, only the cost matters here
            parse("DescribeInstances", body)
        spent = time.process_time() - begun
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 << 20
        assert (
            spent < 20
        )  # under tracemalloc, which slows it several times, perhaps on a slow machine; quadratic is far more


FRAGMENTS = st.sampled_from(
    [
        "Action",
        "InstanceId",
        "Filter",
        "Value",
        "Name",
        ".",
        ".1",
        ".0",
        ".99",
        "=",
        "&",
        "%20",
        "%",
        "+",
        "x",
        "é",
        "true",
    ]
)


@given(
    st.lists(FRAGMENTS, max_size=40).map("".join) | st.text(max_size=60),
    st.sampled_from(["DescribeInstances", "RunInstances"]),
)
def test_any_text_is_read_or_refused(body: str, operation: str) -> None:
    with contextlib.suppress(BadRequest):  # the clean refusal that is the other allowed end
        parse(operation, body.encode("utf-8", "surrogatepass"))


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=10), max_size=5))
def test_forms_decode_to_what_was_encoded(fields: dict[str, str]) -> None:
    try:
        body = urlencode(fields)
    except UnicodeEncodeError:
        return  # a lone surrogate cannot be sent
    assert request(body).fields == fields
