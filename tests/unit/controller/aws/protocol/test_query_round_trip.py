"""botocore writes what we parse, and reads what we write."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.message import Request
from tests.support.aws_shapes import full, is_usable, structures

PROTOCOLS = {"ec2": "ec2", "sts": "query", "iam": "query", "autoscaling": "query", "cloudwatch": "query"}
OPERATIONS = [
    (service, operation) for service in PROTOCOLS for operation in sorted(codec_for(service).service.operation_names)
]
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FORM = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)


def model_of(service: str, operation: str) -> Any:
    return codec_for(service).service.operation(operation)


def as_request(service: str, operation: str, params: dict[str, Any]) -> Request:
    """What botocore would send."""
    serialized = create_serializer(PROTOCOLS[service], include_validation=False).serialize_to_request(
        params, model_of(service, operation)
    )
    body = urlencode(serialized["body"], doseq=True).encode()
    return Request("POST", "/", "", FORM, body, "127.0.0.1")


def read_back(service: str, operation: str, result: dict[str, Any]) -> dict[str, Any]:
    """What botocore makes of our answer."""
    answer = codec_for(service).write(operation, result, "the-request-id")
    read = create_parser(PROTOCOLS[service]).parse(
        {"body": answer.body, "headers": {}, "status_code": answer.status}, model_of(service, operation).output_shape
    )
    assert read.pop("ResponseMetadata")["RequestId"] == "the-request-id"
    return dict(read)


@pytest.mark.parametrize("service", PROTOCOLS)
def test_every_operation_parses_all_its_members(service: str) -> None:
    codec = codec_for(service)
    for operation in codec.service.operation_names:
        shape = model_of(service, operation).input_shape
        params = full(shape) if shape else {}
        request = as_request(service, operation, params)
        assert codec.operation_name(request) == operation
        assert codec.parse(operation, request) == params, operation


@pytest.mark.parametrize("service", PROTOCOLS)
def test_the_time_that_version_1_of_the_sdk_for_ruby_sends_is_no_parameter(service: str) -> None:
    codec = codec_for(service)
    operation = min(codec.service.operation_names)
    request = as_request(service, operation, params := full(model_of(service, operation).input_shape))
    timed = replace(request, body=request.body + b"&Timestamp=2026-12-02T01%3A26%3A19Z")
    assert codec.parse(operation, timed) == params


@pytest.mark.parametrize("service", PROTOCOLS)
def test_every_operation_writes_all_its_members(service: str) -> None:
    for operation in codec_for(service).service.operation_names:
        shape = model_of(service, operation).output_shape
        result = full(shape) if shape else {}
        assert read_back(service, operation, result) == result, operation


@SLOW
@given(st.data())
def test_parses_what_botocore_writes(data: st.DataObject) -> None:
    service, operation = data.draw(st.sampled_from(OPERATIONS))
    shape = model_of(service, operation).input_shape
    params = data.draw(structures(shape)) if shape and is_usable(shape, 0) else {}
    assert codec_for(service).parse(operation, as_request(service, operation, params)) == params


@SLOW
@given(st.data())
def test_writes_what_botocore_reads(data: st.DataObject) -> None:
    service, operation = data.draw(st.sampled_from(OPERATIONS))
    shape = model_of(service, operation).output_shape
    result = data.draw(structures(shape)) if shape and is_usable(shape, 0) else {}
    expected = dict(result)
    if service == "ec2" and shape and "Return" in shape.members:
        expected.setdefault("Return", True)
    assert read_back(service, operation, result) == expected
