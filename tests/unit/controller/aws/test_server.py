"""The endpoint as boto3 and plain HTTP clients meet it on a socket."""

import gzip
import http.client
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree as ET

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from stead_controller.aws.server import MAX_BODY
from tests.unit.controller.aws.conftest import ACCOUNT, KEY, OTHER_KEY, SECRET, SESSION_KEY, TOKEN, Endpoint


def refused(call: Any, **params: Any) -> tuple[str, int, str]:
    """The code, status and message with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    response: Any = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def send(endpoint: Endpoint, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, Any, str]:
    """Send a request as it is; gives status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def signed(
    endpoint: Endpoint, method: str = "POST", query: str = "", body: bytes = b"", **headers: str
) -> tuple[int, Any, str]:
    """Sign as botocore does, and send."""
    aws = AWSRequest(method=method, url=f"{endpoint.url}/{query}", data=body, headers=headers)
    SigV4Auth(Credentials(KEY, SECRET), "ec2", "eu-1").add_auth(aws)
    return send(endpoint, method, f"/{query}", body, **dict(aws.prepare().headers.items()))


def test_who_am_i(endpoint: Endpoint) -> None:
    answer = endpoint.client("sts").get_caller_identity()
    assert (answer["Account"], answer["UserId"]) == (ACCOUNT, "AIDAEXAMPLE")
    [record] = endpoint.records
    assert (record.service, record.operation, record.status, record.error_code) == (
        "sts",
        "GetCallerIdentity",
        200,
        None,
    )
    assert record.caller
    assert record.caller.access_key_id == KEY
    assert record.request_id == answer["ResponseMetadata"]["RequestId"]
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"] == record.request_id
    assert record.seconds > 0


def test_create_describe_delete(endpoint: Endpoint) -> None:
    ec2 = endpoint.client("ec2")
    made = ec2.create_volume(AvailabilityZone="eu-1a", Size=3, ClientToken="vol-1")
    assert (made["VolumeId"], made["Size"]) == ("vol-1", 3)
    assert [volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]] == ["vol-1"]
    ec2.delete_volume(VolumeId="vol-1")
    assert ec2.describe_volumes()["Volumes"] == []
    assert endpoint.transactions.outcomes == ["committed", "read", "committed", "read"]


def test_refusals_of_operations(endpoint: Endpoint) -> None:
    ec2 = endpoint.client("ec2")
    assert refused(ec2.describe_volumes, VolumeIds=["vol-x"]) == ("InvalidVolume.NotFound", 400, "The volume 'vol-x' does not exist.")  # fmt: skip
    ec2.create_volume(AvailabilityZone="eu-1a", ClientToken="vol-1")
    assert refused(ec2.create_volume, AvailabilityZone="eu-1a", ClientToken="vol-1")[:2] == ("InvalidVolumeID.Duplicate", 400)  # fmt: skip
    assert endpoint.transactions.volumes == ["vol-1"]


def test_a_dry_run_does_all_and_keeps_nothing(endpoint: Endpoint) -> None:
    ec2 = endpoint.client("ec2")
    code, status, message = refused(ec2.create_volume, AvailabilityZone="eu-1a", ClientToken="vol-1", DryRun=True)
    assert (code, status) == ("DryRunOperation", 412)
    assert message == "Request would have succeeded, but DryRun flag is set."
    assert endpoint.transactions.volumes == []
    assert endpoint.transactions.outcomes == ["dry run"]
    assert refused(ec2.describe_volumes, VolumeIds=["vol-x"], DryRun=True)[0] == "InvalidVolume.NotFound"
    assert refused(ec2.describe_volumes, DryRun=True)[0] == "DryRunOperation"
    assert ec2.create_volume(AvailabilityZone="eu-1a", ClientToken="vol-1", DryRun=False)["VolumeId"] == "vol-1"


def test_internal_errors_show_nothing(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    ec2 = endpoint.client("ec2")
    code, status, message = refused(ec2.describe_regions)
    assert (code, status) == ("InternalError", 500)
    assert "secret" not in message
    assert endpoint.records[-1].request_id in message
    assert "a secret of the house" in caplog.text


def test_an_answer_that_cannot_be_written_changes_nothing(endpoint: Endpoint) -> None:
    assert refused(endpoint.client("ec2").create_snapshot, VolumeId="vol-1")[:2] == ("InternalError", 500)
    assert endpoint.transactions.volumes == []


def test_operations_that_are_not_built(endpoint: Endpoint) -> None:
    code, status, message = refused(endpoint.client("ec2").describe_spot_fleet_requests)
    assert (code, status) == ("UnsupportedOperation", 400)
    assert "DescribeSpotFleetRequests" in message
    assert refused(endpoint.client("sts").get_session_token)[:2] == ("UnsupportedOperation", 400)
    status, _, text = signed(endpoint, body=b"Action=DescribeUnicorns&Version=2016-11-15")
    assert (status, "<Code>InvalidAction</Code>" in text) == (400, True)
    status, _, text = signed(endpoint, body=b"Version=2016-11-15")
    assert (status, "<Code>MissingAction</Code>" in text) == (400, True)


AUTH_FAILURE = ("AuthFailure", 401, "AWS was not able to validate the provided access credentials")


@pytest.mark.parametrize(
    "credentials",
    [
        {"secret": "wrong"},
        {"key": "AKIAUNKNOWN000000000"},
        {"key": OTHER_KEY},
        {"token": "a token for a key that has none"},
        {"key": SESSION_KEY},
        {"key": SESSION_KEY, "token": "another"},
    ],
)
def test_wrong_credentials_all_look_the_same(endpoint: Endpoint, credentials: dict[str, str]) -> None:
    assert refused(endpoint.client("ec2", **credentials).describe_volumes) == AUTH_FAILURE
    assert endpoint.transactions.outcomes == []


def test_wrong_credentials_at_sts(endpoint: Endpoint) -> None:
    wrong_secret = endpoint.client("sts", secret="wrong")
    assert refused(wrong_secret.get_caller_identity)[:2] == ("SignatureDoesNotMatch", 403)
    unknown = endpoint.client("sts", key="AKIAUNKNOWN000000000")
    assert refused(unknown.get_caller_identity)[:2] == ("InvalidClientTokenId", 403)


def test_session_tokens(endpoint: Endpoint) -> None:
    assert endpoint.client("sts", key=SESSION_KEY, token=TOKEN).get_caller_identity()["Account"] == ACCOUNT


@pytest.mark.parametrize("minutes", [-16, 16, 60 * 24 * 365])
def test_a_wrong_clock_is_an_error(endpoint: Endpoint, minutes: int) -> None:
    wrong = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes)
    with patch("botocore.auth.get_current_datetime", return_value=wrong):
        assert refused(endpoint.client("ec2").describe_volumes)[:2] == ("RequestExpired", 400)
        assert refused(endpoint.client("sts").get_caller_identity)[:2] == ("SignatureDoesNotMatch", 403)


def test_a_presigned_url_in_a_browser(endpoint: Endpoint) -> None:
    url = f"{endpoint.url}/?Action=DescribeVolumes&Version=2016-11-15&Filter.1.Name=a&Filter.1.Value.1=b%20c"
    aws = AWSRequest(method="GET", url=url)
    SigV4QueryAuth(Credentials(KEY, SECRET), "ec2", "eu-1", expires=60).add_auth(aws)
    target = "/" + str(aws.prepare().url).split("/", 3)[3]
    status, headers, text = send(endpoint, "GET", target)
    assert (status, headers["Content-Type"]) == (200, "text/xml;charset=UTF-8")
    assert ET.fromstring(text).tag == "{http://ec2.amazonaws.com/doc/2016-11-15/}DescribeVolumesResponse"
    status, _, text = send(endpoint, "GET", target + "&DryRun=true")
    assert (status, "AuthFailure" in text) == (401, True)


def test_get_with_a_signed_header(endpoint: Endpoint) -> None:
    status, _, text = signed(endpoint, "GET", "?Action=DescribeVolumes&Version=2016-11-15")
    assert (status, "<volumeSet></volumeSet>" in text) == (200, True)


def test_parameters_in_query_and_body(endpoint: Endpoint) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    status, _, text = signed(endpoint, "POST", "?Action=DescribeVolumes", b"VolumeId.0=vol-x", **form)
    assert (status, "InvalidVolume.NotFound" in text) == (400, True)


@pytest.mark.parametrize(
    ("target", "code"),
    [("/", "MissingAuthenticationToken"), ("/?Action=DescribeVolumes&Version=2016-11-15", "MissingAuthenticationToken"), ("/?a=%zz", "MalformedQueryString")],
)  # fmt: skip
def test_unsigned_requests_are_refused(endpoint: Endpoint, target: str, code: str) -> None:
    status, headers, text = send(endpoint, "GET", target)
    assert status in (400, 403)
    assert ET.fromstring(text).findtext("Errors/Error/Code") == code
    assert headers["x-amzn-RequestId"] == ET.fromstring(text).findtext("RequestID")
    assert headers["Server"] == "stead"


def test_unsigned_requests_of_sts_get_its_error_document(endpoint: Endpoint) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    _, _, text = send(endpoint, "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15", **form)
    assert ET.fromstring(text).tag == "{https://sts.amazonaws.com/doc/2011-06-15/}ErrorResponse"


def test_scopes_of_services_that_do_not_exist(endpoint: Endpoint) -> None:
    aws = AWSRequest(method="GET", url=f"{endpoint.url}/?Action=ListBuckets")
    SigV4Auth(Credentials(KEY, SECRET), "s3", "eu-1").add_auth(aws)
    status, _, text = send(endpoint, "GET", "/?Action=ListBuckets", b"", **dict(aws.prepare().headers.items()))
    assert (status, "The service s3 is not supported by this cloud." in text) == (400, True)


@pytest.mark.parametrize("declared", [True, False])
def test_too_large_a_body_is_refused_in_the_words_of_aws(endpoint: Endpoint, *, declared: bool) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as connection:
        if declared:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1))
        else:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
            for _ in range(MAX_BODY // 0x10000):
                connection.sendall(chunk)
            connection.sendall(b"1\r\na\r\n")
        head = connection.makefile("rb").readline()
    assert head.startswith(b"HTTP/1.1 413 ")


def test_the_largest_body_is_read(endpoint: Endpoint) -> None:
    body = b"Action=DescribeVolumes&VolumeId.1=".ljust(MAX_BODY, b"a")
    status, _, _ = signed(endpoint, body=body, **{"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 400


def test_expect_continue_is_answered_before_the_body(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        stream = connection.makefile("rb")
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        connection.sendall(b"a=b")
        assert stream.readline() == b"HTTP/1.1 403 Forbidden\r\n"


def test_a_body_is_signed_as_it_is_sent(endpoint: Endpoint) -> None:
    """Whatever its encoding: what it is then is no request, but nobody says that the signature is wrong."""
    packed = gzip.compress(b"Action=DescribeVolumes&Version=2016-11-15", mtime=0)
    status, _, text = signed(endpoint, body=packed, **{"Content-Encoding": "gzip"})
    assert (status, "SignatureDoesNotMatch" in text) == (400, False)


def test_connections_stay_open(endpoint: Endpoint) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read()
        assert connection.sock is not None
    connection.close()


def test_health(endpoint: Endpoint) -> None:
    status, _, text = send(endpoint, "GET", "/_stead/health")
    assert (status, json.loads(text)) == (200, {"status": "ok"})
    assert endpoint.records == []


def test_an_observer_that_fails_takes_no_answer_away(endpoint: Endpoint) -> None:
    def fail(record: Any) -> None:
        raise RuntimeError(record)

    with patch.object(endpoint.app, "_on_call", fail):
        assert endpoint.client("sts").get_caller_identity()["Account"] == ACCOUNT


def test_a_body_that_does_not_come_is_not_waited_for(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stead_controller.aws.server._BODY_SECONDS", 0.05)
    status_line = b"HTTP/1.1 408 "
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
        assert connection.makefile("rb").readline().startswith(status_line)
