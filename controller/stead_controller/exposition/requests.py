"""Calls of the AWS APIs, counted as they end.

A name that Stead does not know is what a client made up, so it is not a label: else anybody could add series.
"""

from collections.abc import Collection
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from stead_controller.aws.call_record import CallRecord

OTHER: Final = "other"
_NO_FAULT: Final = ("Insufficient", "RequestLimitExceeded", "SlowDown", "NotImplemented")
"""How codes begin that have a status of 500 or more, as AWS has it, and of which Stead is not at fault."""
_SERVER_ERRORS: Final = 500
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Requests:
    """The counters; belongs to the event loop."""

    def __init__(self, registry: CollectorRegistry, known: Collection[tuple[str, str]]) -> None:
        """Count nothing yet; `known` has the services and operations that are shown by name."""
        self._known = frozenset(known)
        self._services = frozenset(service for service, _ in known)
        self._ended = Counter(
            "stead_api_requests", "Calls that were answered.", ("service", "operation", "status"), registry=registry
        )
        self._failed = Counter(
            "stead_api_failures",
            "Calls that were answered by an error of Stead's own.",
            ("service", "operation"),
            registry=registry,
        )
        self._seconds = Histogram(
            "stead_api_request_seconds",
            "Time from a call's arrival to its answer.",
            ("service", "operation"),
            buckets=_SECONDS,
            registry=registry,
        )

    def note(self, call: CallRecord) -> None:
        """Count a call that has ended."""
        service = call.service if call.service in self._services else OTHER
        operation = call.operation if call.operation and (service, call.operation) in self._known else OTHER
        self._ended.labels(service, operation, str(call.status)).inc()
        self._seconds.labels(service, operation).observe(call.seconds)
        if call.status >= _SERVER_ERRORS and not (call.error_code or "").startswith(_NO_FAULT):
            self._failed.labels(service, operation).inc()
