"""A request shows its protocol, and an error is written in it, also where no model of the service is at hand."""

import json

import pytest

from stead_controller.aws.protocol import wires
from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.protocol.message import Request

FORM = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
AMZ_1_1 = ("Content-Type", "application/x-amz-json-1.1")
CBOR = ("smithy-protocol", "rpc-v2-cbor")
TARGET = ("X-Amz-Target", "AmazonSSM.ListDocuments")
CBOR_PATH = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
ERROR = WireError("Some<Code>", "a & b", 400)


def request(*headers: tuple[str, str], path: str = "/", query: str = "", body: bytes = b"") -> Request:
    return Request("POST" if body else "GET", path, query, headers, body, "127.0.0.1")


@pytest.mark.parametrize(
    ("asked", "service", "wire"),
    [
        (request(CBOR, path=CBOR_PATH), "ec2", Wire.CBOR),
        (request(("Smithy-Protocol", "RPC-v2-CBOR")), "", Wire.CBOR),
        (request(("smithy-protocol", "another")), "sqs", Wire.REST_JSON),
        (request(TARGET, FORM), "ec2", Wire.JSON),
        (request(), "ec2", Wire.EC2),
        (request(FORM), "s3", Wire.S3),
        (request(FORM), "s3express", Wire.S3),
        (request(FORM), "route53", Wire.REST_XML),
        (request(FORM), "cloudfront", Wire.REST_XML),
        (request(FORM, body=b"Version=1"), "sqs", Wire.QUERY),
        (request(query="Action=ListQueues"), "sqs", Wire.QUERY),
        (request(("Content-Type", "text/plain"), body=b"Action=ListQueues"), "sqs", Wire.REST_JSON),
        (request(path="/2015-03-31/functions/"), "lambda", Wire.REST_JSON),
        (request(), "", Wire.REST_JSON),
    ],
)
def test_the_protocol_of_a_request(asked: Request, service: str, wire: Wire) -> None:
    assert wires.wire_of(asked, service) is wire


SCOPE = "AKIA/20260101/eu-1/%s/aws4_request"


@pytest.mark.parametrize(
    ("asked", "service"),
    [
        (request(("Authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE % 'ssm'}, SignedHeaders=host")), "ssm"),
        (request(("Authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE % 'Service Quotas'}")), "Service Quotas"),
        (request(("Authorization", "Basic YTpi")), ""),
        (request(query="X-Amz-Credential=" + (SCOPE % "rds").replace("/", "%2F")), "rds"),
        (request(("Authorization", "Basic YTpi"), query="X-Amz-Credential=" + SCOPE % "rds"), ""),
        (request(query="X-Amz-Credential=%FF"), ""),
        (request(), ""),
    ],
)
def test_the_service_that_a_scope_names(asked: Request, service: str) -> None:
    assert wires.named_service(asked) == service


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (request(CBOR, path=CBOR_PATH), "GraniteServiceVersion20100801"),
        (request(path=CBOR_PATH), ""),
        (request(CBOR, path="/"), ""),
        (request(TARGET), "AmazonSSM"),
        (request(("X-Amz-Target", "com.amazonaws.a.v1.B.Do")), "com.amazonaws.a.v1.B"),
        (request(), ""),
    ],
)
def test_the_target_that_a_request_names(asked: Request, target: str) -> None:
    assert wires.named_target(asked) == target


@pytest.mark.parametrize(
    ("asked", "wire", "name"),
    [
        (request(path=CBOR_PATH), Wire.CBOR, "ListMetrics"),
        (request(path="/"), Wire.CBOR, None),
        (request(TARGET), Wire.JSON, "ListDocuments"),
        (request(("X-Amz-Target", "AmazonSSM.No such name")), Wire.JSON, None),
        (request(), Wire.JSON, None),
        (request(FORM, body=b"Action=ListQueues"), Wire.QUERY, "ListQueues"),
        (request(query="Action=DescribeVpcs"), Wire.EC2, "DescribeVpcs"),
        (request(query="Action=a%20b"), Wire.EC2, None),
        (request(query="Action=a&Action=b"), Wire.EC2, None),
        (request(query="Action=a"), Wire.REST_JSON, None),
    ],
)
def test_the_operation_that_a_request_names(asked: Request, wire: Wire, name: str | None) -> None:
    assert wires.named_operation(asked, wire) == name


@pytest.mark.parametrize(
    ("header", "version"), [(AMZ_1_1, "1.1"), (("Content-Type", "application/x-amz-json-1.0"), "1.0")]
)
def test_an_error_in_json_has_the_version_that_was_asked(header: tuple[str, str], version: str) -> None:
    answer = wires.write_error(Wire.JSON, ERROR, request(TARGET, header), "id")
    assert answer.content_type == f"application/x-amz-json-{version}"
    assert answer.headers == {"x-amzn-query-error": "Some<Code>;Sender"}
    assert json.loads(answer.body) == {"__type": "Some<Code>", "message": "a & b"}


def test_an_error_in_rest_json_is_named_by_a_header() -> None:
    answer = wires.write_error(Wire.REST_JSON, ERROR, request(), "id")
    assert (answer.content_type, answer.headers) == ("application/json", {"x-amzn-ErrorType": "Some<Code>"})


def test_an_error_in_cbor_is_a_map_of_two_texts() -> None:
    answer = wires.write_error(Wire.CBOR, ERROR, request(CBOR), "id")
    assert answer.headers == {"smithy-protocol": "rpc-v2-cbor", "x-amzn-query-error": "Some<Code>;Sender"}
    texts = [b"__type", b"Some<Code>", b"message", b"a & b"]
    assert answer.body == b"\xa2" + b"".join(b"\x7a" + len(text).to_bytes(4) + text for text in texts)


@pytest.mark.parametrize(
    ("wire", "beginning"),
    [
        (Wire.S3, b"<Error><Code>"),
        (Wire.EC2, b"<Response><Errors><Error><Code>"),
        (Wire.QUERY, b"<ErrorResponse><Error><Type>Sender</Type><Code>"),
        (Wire.REST_XML, b"<ErrorResponse><Error><Type>Sender</Type><Code>"),
    ],
)
def test_an_error_in_xml_is_escaped_and_names_the_request(wire: Wire, beginning: bytes) -> None:
    answer = wires.write_error(wire, ERROR, request(), "an-id")
    assert (answer.status, answer.content_type) == (400, "text/xml;charset=UTF-8")
    for part in (beginning, b"<Code>Some&lt;Code&gt;</Code>", b"<Message>a &amp; b</Message>", b">an-id</Request"):
        assert part in answer.body
