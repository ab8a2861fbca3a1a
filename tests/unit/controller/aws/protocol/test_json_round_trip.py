"""The JSON protocols: botocore writes what we parse, and reads what we write."""

from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.codec import Codec, WireError
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.errors import BadRequest, InvalidParameter, MissingParameter, SteadError, UnknownParameter
from tests.support.aws_shapes import full, is_usable, structures

PROTOCOLS = {"cloudwatch": "json", "ebs": "rest-json", "dlm": "rest-json"}
TARGET = (("X-Amz-Target", "GraniteServiceVersion20100801.PutMetricData"),)
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def codec_of(service: str) -> Codec:
    hint = Request("POST", "/", "", TARGET, b"", "") if PROTOCOLS[service] == "json" else None
    return codec_for(service, hint)


OPERATIONS = [(service, name) for service in PROTOCOLS for name in sorted(codec_of(service).service.operation_names)]


def model_of(service: str, operation: str) -> Any:
    return codec_of(service).service.operation(operation)


def as_request(service: str, operation: str, params: dict[str, Any]) -> Request:
    """What botocore would send."""
    serializer = create_serializer(PROTOCOLS[service], include_validation=False)
    serialized: Any = serializer.serialize_to_request(params, model_of(service, operation))
    prepare_request_dict(serialized, "http://stead.example")
    ready: Any = create_request_object(serialized).prepare()
    parts = urlsplit(ready.url)
    headers = [(name, value if isinstance(value, str) else value.decode()) for name, value in ready.headers.items()]
    return Request(ready.method, parts.path, parts.query, tuple(headers), ready.body or b"", "127.0.0.1")


def read_back(service: str, operation: str, answer: Response) -> dict[str, Any]:
    """What botocore makes of our answer."""
    headers = HTTPMessage()
    for name, value in answer.headers.items():
        headers[name] = value
    parser = create_parser(PROTOCOLS[service])
    read: Any = parser.parse(
        {"body": answer.body, "headers": headers, "status_code": answer.status},
        model_of(service, operation).output_shape,
    )
    read.pop("ResponseMetadata")
    return dict(read)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_every_operation_parses_all_its_members(service: str, operation: str) -> None:
    shape = model_of(service, operation).input_shape
    params = full(shape) if shape else {}
    request = as_request(service, operation, params)
    codec = codec_for(service, request)
    assert codec.operation_name(request) == operation
    assert codec.parse(operation, request) == params


@pytest.mark.parametrize(("service", "operation"), [one for one in OPERATIONS if one[1] != "GetSnapshotBlock"])
def test_every_operation_writes_all_its_members(service: str, operation: str) -> None:
    shape = model_of(service, operation).output_shape
    result = full(shape) if shape else {}
    assert read_back(service, operation, codec_of(service).write(operation, result, "R-1")) == result


def test_a_body_of_bytes() -> None:
    result = {"BlockData": bytes(range(256)), "DataLength": 256, "Checksum": "abc", "ChecksumAlgorithm": "SHA256"}
    answer = codec_of("ebs").write("GetSnapshotBlock", result, "R-1")
    assert (answer.status, answer.content_type, answer.body) == (200, "application/octet-stream", bytes(range(256)))
    assert answer.headers == {
        "x-amz-Data-Length": "256", "x-amz-Checksum": "abc", "x-amz-Checksum-Algorithm": "SHA256"
    }  # fmt: skip


@SLOW
@given(st.data())
def test_parses_what_botocore_writes(data: st.DataObject) -> None:
    service, operation = data.draw(st.sampled_from(OPERATIONS))
    shape = model_of(service, operation).input_shape
    params = data.draw(structures(shape)) if shape and is_usable(shape, 0) else {}
    located = [name for name, member in shape.members.items() if member.serialization.get("location")] if shape else []
    for name in located:  # in paths and headers, only what they carry
        if isinstance(params.get(name), str):
            params[name] = "".join(c for c in params[name] if c.isascii() and c.isalnum()) or "x"
    request = as_request(service, operation, params)
    try:
        assert codec_for(service, request).parse(operation, request) == params
    except InvalidParameter:
        assert located  # shortened below its least length


@SLOW
@given(st.data())
def test_writes_what_botocore_reads(data: st.DataObject) -> None:
    service, operation = data.draw(st.sampled_from([one for one in OPERATIONS if one[0] != "ebs"]))
    shape = model_of(service, operation).output_shape
    result = data.draw(structures(shape)) if shape and is_usable(shape, 0) else {}
    assert read_back(service, operation, codec_of(service).write(operation, result, "R-1")) == result


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", BadRequest),
        (b"[]", BadRequest),
        (b'"x"', BadRequest),
        (b"\xff", BadRequest),
        (b"[" * 100_000, BadRequest),
        (b'{"Namespace": NaN}', BadRequest),
        (b'{"Namespace": ' + b"1" * 5000 + b"}", BadRequest),
        (b'{"Namespace": 1}', InvalidParameter),
        (b'{"Namespace": "\\ud800"}', InvalidParameter),
        (b'{"Namespace": ""}', InvalidParameter),
        (b'{"Namespace": "a", "Bogus": 1}', UnknownParameter),
        (b'{"Namespace": null}', MissingParameter),
        (b"", MissingParameter),
        (b'{"Namespace": "a", "MetricData": {}}', InvalidParameter),
        (b'{"Namespace": "a", "MetricData": [1]}', InvalidParameter),
        (b'{"Namespace": "a", "MetricData": [{"MetricName": "m", "Value": true}]}', InvalidParameter),
        (b'{"Namespace": "a", "MetricData": [{"MetricName": "m", "Value": 1e999}]}', InvalidParameter),
        (b'{"Namespace": "a", "MetricData": [{"MetricName": "m", "Value": ' + b"1" * 400 + b"}]}", InvalidParameter),
        (b'{"Namespace": "a", "MetricData": [{"MetricName": "m", "StorageResolution": 1.5}]}', InvalidParameter),
        (b'{"Namespace": "a", "MetricData": [{"MetricName": "m", "Timestamp": 1e30}]}', InvalidParameter),
        (b'{"Namespace": "a", "StrictEntityValidation": "true"}', InvalidParameter),
    ],
)
def test_refuses(body: bytes, error: type[SteadError]) -> None:
    with pytest.raises(error):
        codec_of("cloudwatch").parse("PutMetricData", Request("POST", "/", "", TARGET, body, ""))


@pytest.mark.parametrize(
    ("service", "request_", "code"),
    [
        (
            "cloudwatch",
            Request("POST", "/", "", (("X-Amz-Target", "Granite.PutMetricData"),), b"", ""),
            "InvalidAction",
        ),
        ("cloudwatch", Request("POST", "/", "", (("X-Amz-Target", TARGET[0][1] + "s"),), b"", ""), "InvalidAction"),
        ("ebs", Request("GET", "/", "", (), b"", ""), "UnknownOperationException"),
        ("ebs", Request("DELETE", "/snapshots", "", (), b"", ""), "UnknownOperationException"),
        ("ebs", Request("GET", "/snapshots/a/b/blocks", "", (), b"", ""), "UnknownOperationException"),
    ],
)
def test_operation_must_exist(service: str, request_: Request, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        codec_for(service, request_).operation_name(request_)
    assert caught.value.code == code


def test_labels_are_decoded_and_query_parameters_come_once() -> None:
    codec = codec_of("dlm")
    request = Request("GET", "/tags/arn%3Aaws%3Adlm%3Aeu-1%3A1%3Apolicy%2Fp", "", (), b"", "")
    assert codec.operation_name(request) == "ListTagsForResource"
    assert codec.parse("ListTagsForResource", request) == {"ResourceArn": "arn:aws:dlm:eu-1:1:policy/p"}
    twice = Request("GET", "/snapshots/snap-1/blocks", "maxResults=100&maxResults=200", (), b"", "")
    with pytest.raises(BadRequest):
        codec_of("ebs").parse("ListSnapshotBlocks", twice)
    broken = Request("GET", "/tags/%ff", "", (), b"", "")
    with pytest.raises(BadRequest):
        codec.operation_name(broken)


def test_errors_are_read_by_botocore() -> None:
    error = WireError("ResourceNotFound", "no such alarm", 404)
    answer = codec_of("cloudwatch").write_error(error, "R-1")
    read: Any = create_parser("json").parse(
        {"body": answer.body, "headers": answer.headers, "status_code": 404},
        model_of("cloudwatch", "ListMetrics").output_shape,
    )
    assert (read["Error"]["Code"], read["Error"]["Message"]) == ("ResourceNotFound", "no such alarm")
    answer = codec_of("ebs").write_error(WireError("ResourceNotFoundException", "no", 404), "R-1")
    assert answer.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"


def test_results_that_are_not_of_the_model_are_refused() -> None:
    for result in ({"Nonsense": 1}, {"NextToken": 5}, {"Metrics": [{"MetricName": b"x"}]}):
        with pytest.raises(TypeError):
            codec_of("cloudwatch").write("ListMetrics", result, "R-1")
