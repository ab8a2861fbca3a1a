"""Calls are counted by names that Stead knows; what a client makes up adds no series."""

from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from stead_controller.aws.call_record import CallRecord
from stead_controller.exposition.requests import Requests


class _Call:
    """What is read of a record."""

    def __init__(
        self,
        service: str,
        operation: str | None,
        status: int = 200,
        seconds: float = 0.03,
        error_code: str | None = None,
    ) -> None:
        self.service = service
        self.operation = operation
        self.status = status
        self.seconds = seconds
        self.error_code = error_code


@pytest.mark.parametrize(
    ("call", "service", "operation"),
    [
        (_Call("ec2", "RunInstances"), "ec2", "RunInstances"),
        (_Call("ec2", "Made-up"), "ec2", "other"),
        (_Call("ec2", None), "ec2", "other"),
        (_Call("iam", "RunInstances"), "iam", "other"),
        (_Call("made-up", "RunInstances"), "other", "other"),
    ],
)
def test_a_call_is_counted_by_known_names(call: _Call, service: str, operation: str) -> None:
    registry = CollectorRegistry()
    requests = Requests(registry, [("ec2", "RunInstances"), ("iam", "ListUsers")])
    requests.note(cast("CallRecord", call))
    requests.note(cast("CallRecord", call))
    labels = {"service": service, "operation": operation}
    assert registry.get_sample_value("stead_api_requests_total", labels | {"status": "200"}) == 2
    assert registry.get_sample_value("stead_api_request_seconds_sum", labels) == pytest.approx(0.06)
    assert registry.get_sample_value("stead_api_request_seconds_bucket", labels | {"le": "0.025"}) == 0
    assert registry.get_sample_value("stead_api_request_seconds_bucket", labels | {"le": "0.05"}) == 2


@pytest.mark.parametrize(
    ("status", "code", "failed"),
    [
        (200, None, None),
        (400, "InvalidParameterValue", None),
        (500, "InternalError", 1),
        (503, "ServiceUnavailable", 1),
        (502, None, 1),
        (500, "InsufficientInstanceCapacity", None),
        (500, "InsufficientAddressCapacity", None),
        (503, "RequestLimitExceeded", None),
        (503, "SlowDown", None),
        (501, "NotImplemented", None),
    ],
)
def test_what_aws_has_as_a_servers_error_is_not_always_a_fault(
    status: int, code: str | None, failed: float | None
) -> None:
    registry = CollectorRegistry()
    requests = Requests(registry, [("ec2", "RunInstances")])
    requests.note(cast("CallRecord", _Call("ec2", "RunInstances", status, error_code=code)))
    labels = {"service": "ec2", "operation": "RunInstances"}
    assert registry.get_sample_value("stead_api_failures_total", labels) == failed
    assert registry.get_sample_value("stead_api_requests_total", labels | {"status": str(status)}) == 1
