"""XML as clients read it, and as servers behind write it."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from botocore.parsers import create_parser
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers
from stead_controller.resources.storage.buckets import BucketFacts

BUCKET = BucketFacts("mine", "111111111111", "mine-0123456789abcdef", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None)
MODEL = Session().get_service_model("s3")


def read(operation, body, status=200):
    """Read an answer as boto3 does."""
    shape = MODEL.operation_model(operation).output_shape
    return create_parser("rest-xml").parse({"body": body, "headers": {}, "status_code": status}, shape)


def test_buckets():
    body = answers.buckets([BUCKET], "111111111111", prefix="m&", token="abc")
    found = read("ListBuckets", body)
    assert [(each["Name"], each["CreationDate"]) for each in found["Buckets"]] == [("mine", BUCKET.created)]
    assert found["Owner"] == {"DisplayName": "111111111111", "ID": answers.canonical_id("111111111111")}
    assert (found["ContinuationToken"], found["Prefix"]) == ("abc", "m&")
    assert len(answers.canonical_id("111111111111")) == 64


@given(text=st.text(max_size=20))
def test_errors_can_always_be_read(text):
    body = answers.write_error("NoSuchKey", text, f"/b/{text}", "1234")
    error = read("GetObject", body, 404)["Error"]
    assert error["Code"] == "NoSuchKey"
    stored = "".join(letter if letter >= " " or letter in "\t\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
    if stored.isascii():
        assert (error["Message"] or "") == stored


def test_answers_of_the_server_behind_speak_of_our_bucket():
    theirs = (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        "<Name>mine-0123456789abcdef</Name><Contents><Key>mine-0123456789abcdef</Key><ETag>d41d8cd9</ETag>"
        "<Owner><ID>stead</ID><DisplayName>stead</DisplayName></Owner></Contents>"
        "<Contents><Key>&lt;Owner&gt;x&lt;/Owner&gt;</Key><ETag>&#34;d41d8cd9-2&#34;</ETag></Contents></ListBucketResult>"
    )
    found = read("ListObjects", answers.translate(theirs.encode(), BUCKET, "http://x/mine/k"))
    assert found["Name"] == "mine"
    assert [each["Key"] for each in found["Contents"]] == ["mine-0123456789abcdef", "<Owner>x</Owner>"]
    assert [each["ETag"] for each in found["Contents"]] == ['"d41d8cd9"', '"d41d8cd9-2"']
    assert found["Contents"][0]["Owner"]["DisplayName"] == "111111111111"
    done = (
        "<CompleteMultipartUploadResult><Location>http://127.0.0.1:8333/mine-0123456789abcdef/k</Location>"
        "<Bucket>mine-0123456789abcdef</Bucket><Key>k</Key></CompleteMultipartUploadResult>"
    )
    found = read("CompleteMultipartUpload", answers.translate(done.encode(), BUCKET, "http://x/mine/k?a&b"))
    assert (found["Location"], found["Bucket"]) == ("http://x/mine/k?a&b", "mine")


@given(
    keys=st.lists(
        st.tuples(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1), st.just("")),
        min_size=1,
        max_size=5,
    ),
    quiet=st.booleans(),
)
def test_what_is_to_be_deleted_comes_through(keys, quiet):
    wanted = [(key, version, "") for key, version in keys]
    assert answers.read_delete(answers.write_delete(keys, quiet=quiet)) == (wanted, quiet)


def test_refused_keys_are_among_the_answers():
    refused = [("a&b", "1", "AccessDenied", "no")]
    for document in (
        b"",
        b"<DeleteResult/>",
        b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>',
        b"<DeleteResult><Deleted><Key>k</Key></Deleted></DeleteResult>",
    ):
        found = read("DeleteObjects", answers.join_deleted(document, refused))
        assert found["Errors"] == [{"Key": "a&b", "VersionId": "1", "Code": "AccessDenied", "Message": "no"}]
        assert [each["Key"] for each in found.get("Deleted", ())] == (["k"] if b"<Key>k" in document else [])


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<Delete>",
        b"<Delete></Delete>",
        b"<Other><Object><Key>k</Key></Object></Other>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
        b"\xff\xfe",
    ],
)
def test_what_is_no_document(document):
    with pytest.raises(BadRequest) as refusal:
        answers.read_delete(document)
    assert refusal.value.code == "MalformedXML"


def test_location_and_fixed_answers():
    assert ET.fromstring(answers.location("eu-west-1")).text == "eu-west-1"
    assert ET.fromstring(answers.location("us-east-1")).text is None
    for name in answers._FIXED:
        assert read(name, answers.fixed(name))["ResponseMetadata"]["HTTPStatusCode"] == 200
    for name in answers._ABSENT:
        with pytest.raises(BadRequest) as refusal:
            answers.fixed(name)
        assert answers.STATUSES[refusal.value.code or ""] == 404
    assert answers.read_error(b"<Error><Code>A</Code><Message>b</Message></Error>") == ("A", "b")
    assert answers.read_error(b"no XML") == ("", "")


def part(number, time, size):
    return f"<Part><PartNumber>{number}</PartNumber><LastModified>{time}</LastModified><Size>{size}</Size></Part>"


@pytest.mark.parametrize(
    ("listed", "stored"),
    [
        ([(1, "T1", 3), (2, "T1", 4)], [(1, "T1", 3), (2, "T1", 4)]),
        ([(1, "T1", 3), (1, "T2", 4), (2, "T1", 5)], [(1, "T2", 4), (2, "T1", 5)]),
        ([(1, "T2", 4), (1, "T1", 3), (2, "T1", 5)], [(1, "T2", 4), (2, "T1", 5)]),
        ([(1, "T1", 3), (1, "T1", 3)], [(1, "T1", 3)]),  # the same twice
        ([(1, "T1", 3), (2, "T1", 5), (1, "T2", 4)], [(2, "T1", 5), (1, "T2", 4)]),
        ([], []),
    ],
)
def test_parts_that_were_replaced_are_not_listed(listed, stored):
    def document(parts):
        return f"<ListPartsResult><Bucket>b</Bucket>{''.join(part(*each) for each in parts)}</ListPartsResult>".encode()

    assert answers.latest_parts(document(listed)) == document(stored)
