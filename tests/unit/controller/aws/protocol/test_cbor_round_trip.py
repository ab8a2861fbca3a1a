"""The protocol smithy-rpc-v2-cbor: botocore writes what we parse, and reads what we write."""

from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from stead_controller.aws.protocol import cbor, codec_for
from stead_controller.aws.protocol.codec import WireError
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import load_service
from stead_controller.aws.protocol.rpc_cbor import CborCodec
from stead_controller.errors import BadRequest, InvalidParameter, MissingParameter, SteadError, UnknownParameter
from tests.support.aws_shapes import full

SERVICE = load_service("cloudwatch")
CODEC = CborCodec(SERVICE)
HEADERS = (("smithy-protocol", "rpc-v2-cbor"),)
PATH = "/service/GraniteServiceVersion20100801/operation/"


def as_request(operation: str, params: dict[str, Any]) -> Request:
    """What botocore would send."""
    serializer = create_serializer("smithy-rpc-v2-cbor", include_validation=False)
    serialized: Any = serializer.serialize_to_request(params, SERVICE.operation(operation))
    prepare_request_dict(serialized, "http://stead.example")
    ready: Any = create_request_object(serialized).prepare()
    headers = [(name, value if isinstance(value, str) else value.decode()) for name, value in ready.headers.items()]
    body = ready.body or b""
    return Request(ready.method, urlsplit(ready.url).path, "", tuple(headers), bytes(body), "127.0.0.1")


def read_back(operation: str, answer: Response) -> dict[str, Any]:
    """What botocore makes of our answer."""
    headers = HTTPMessage()
    for name, value in answer.headers.items():
        headers[name] = value
    read: Any = create_parser("smithy-rpc-v2-cbor").parse(
        {"body": answer.body, "headers": headers, "status_code": answer.status},
        SERVICE.operation(operation).output_shape,
    )
    read.pop("ResponseMetadata")
    return dict(read)


@pytest.mark.parametrize("operation", sorted(SERVICE.operation_names))
def test_every_operation_parses_and_writes_all_its_members(operation: str) -> None:
    model = SERVICE.operation(operation)
    params = full(model.input_shape) if model.input_shape else {}
    request = as_request(operation, params)
    codec = codec_for("cloudwatch", request)
    assert isinstance(codec, CborCodec)
    assert codec.operation_name(request) == operation
    assert codec.parse(operation, request) == params
    result = full(model.output_shape) if model.output_shape else {}
    assert read_back(operation, codec.write(operation, result, "R-1")) == result


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], BadRequest),
        ({"Namespace": 1}, InvalidParameter),
        ({"Namespace": "a", "Bogus": 1}, UnknownParameter),
        ({}, MissingParameter),
        ({"Namespace": "a", "MetricData": [{"MetricName": "m", "Value": float("nan")}]}, InvalidParameter),
        ({"Namespace": "a", "MetricData": [{"MetricName": "m", "Value": float("inf")}]}, InvalidParameter),
        ({"Namespace": "a", "MetricData": [{"MetricName": "m", "Timestamp": 1e30}]}, InvalidParameter),
        ({"Namespace": "a", "MetricData": [{"MetricName": b"m"}]}, InvalidParameter),
    ],
)
def test_refuses(document: Any, error: type[SteadError]) -> None:
    request = Request("POST", PATH + "PutMetricData", "", HEADERS, cbor.encode(document), "")
    with pytest.raises(error):
        CODEC.parse("PutMetricData", request)


@pytest.mark.parametrize("body", [b"\xff", b"\x01", b"\xa1"])
def test_what_is_no_document(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        CODEC.parse("ListMetrics", Request("POST", PATH + "ListMetrics", "", HEADERS, body, ""))
    assert caught.value.code == "SerializationException"


@pytest.mark.parametrize(
    "path", ["/", PATH + "Bogus", PATH, "/service/Other/operation/ListMetrics", PATH + "ListMetrics/"]
)
def test_operation_must_exist(path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        CODEC.operation_name(Request("POST", path, "", HEADERS, b"", ""))
    assert caught.value.code == "InvalidAction"


@pytest.mark.parametrize(
    ("given", "shape", "code"),
    [
        ("ResourceNotFound", "ResourceNotFound", "ResourceNotFound"),
        ("DashboardNotFoundError", "DashboardNotFoundError", "ResourceNotFound"),
        ("InvalidParameterValue", "InvalidParameterValueException", "InvalidParameterValue"),
        ("ValidationError", "ValidationException", "ValidationError"),
        ("AccessDenied", "AccessDenied", "AccessDenied"),
    ],
)
def test_errors_have_the_shapes_name_and_the_code_that_older_clients_know(given: str, shape: str, code: str) -> None:
    assert SERVICE.error_names(given) == (shape, code)
    answer = CODEC.write_error(WireError(given, "no", 404), "R-1")
    assert cbor.decode(answer.body) == {"__type": shape, "message": "no"}
    assert answer.headers == {"smithy-protocol": "rpc-v2-cbor", "x-amzn-query-error": f"{code};Sender"}
    asked = Request("POST", "/", "", (("X-Amz-Target", "GraniteServiceVersion20100801.ListMetrics"),), b"", "")
    of_json = codec_for("cloudwatch", asked).write_error(WireError(given, "no", 404), "R-1")
    assert of_json.headers == {"x-amzn-query-error": f"{code};Sender"}
    assert f"<Code>{code}</Code>".encode() in codec_for("cloudwatch").write_error(WireError(given, "no", 404), "R").body


def test_services_of_one_protocol_have_one_name_of_an_error() -> None:
    assert load_service("iam").error_names("NoSuchEntityException") == ("NoSuchEntityException",) * 2


def test_results_that_are_not_of_the_model_are_refused() -> None:
    for result in ({"Nonsense": 1}, {"NextToken": 5}, {"Metrics": [{"MetricName": b"x"}]}):
        with pytest.raises(TypeError):
            CODEC.write("ListMetrics", result, "R-1")
    with pytest.raises(TypeError):
        CODEC.write("GetMetricWidgetImage", {"MetricWidgetImage": "x"}, "R-1")
