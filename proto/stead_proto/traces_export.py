"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

Whoever ends a span only puts it into a queue. A thread sends what is there; what does not fit into the queue, or is not
taken by the server, is dropped and counted.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from importlib import metadata
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as RecordedSpan

from stead_proto.traces import Kind, Settings, Span, TracesError, Value, read_headers

_log: Final = logging.getLogger(__name__)

QUEUE: Final = 4096  # spans of some KiB each, in the worst case 10 MiB
_BATCH: Final = 256
_WAIT_SECONDS: Final = 1.0
_SERVER_SECONDS: Final = 5.0
_KINDS: Final = {
    "server": SpanKind.SERVER,
    "internal": SpanKind.INTERNAL,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class Export:
    """The recorder of a process."""

    def __init__(self, settings: Settings, program: str, name: str) -> None:
        """Begin to send; raises TracesError for settings that cannot be used."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the queue says once that nothing is taken
        headers = {} if settings.headers_file is None else read_headers(settings.headers_file)
        exporter = OTLPSpanExporter(
            endpoint=_url(settings.endpoint),
            certificate_file=None if settings.ca_file is None else str(settings.ca_file),
            headers=headers or None,
            timeout=_SERVER_SECONDS,
            compression=Compression.Gzip,
        )
        self._queue = Queue(exporter)
        version = metadata.version("stead")
        resource = Resource.create({"service.name": program, "service.version": version, "service.instance.id": name})
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.share)), resource=resource, shutdown_on_exit=False
        )
        provider.add_span_processor(self._queue)
        self._tracer = provider.get_tracer(program, version)

    @property
    def sent(self) -> int:
        """How many spans the server has taken."""
        return self._queue.sent

    @property
    def dropped(self) -> int:
        """How many it never got, or did not take."""
        return self._queue.dropped

    def begin(
        self, name: str, parent: str, kind: Kind, attributes: Mapping[str, Value], began: int | None
    ) -> Span | None:
        """Begin a span, if it is to be recorded."""
        begun = self._tracer.start_span(name, _context(parent), _KINDS[kind], dict(attributes), start_time=began)
        return _Span(begun) if begun.is_recording() else None

    def stop(self, seconds: float) -> None:
        """Send what waits, for so long at most."""
        self._queue.end(seconds)


class Queue(SpanProcessor):
    """The spans that wait to be sent; who ends one never waits."""

    def __init__(self, exporter: SpanExporter, size: int = QUEUE) -> None:
        """Start the thread that sends."""
        self._exporter = exporter
        self._size = size
        self._spans: deque[ReadableSpan] = deque()
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._ends = False
        self._is_taken = True
        self.sent = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended; drop it when there are too many."""
        with self._lock:
            if self._ends or len(self._spans) >= self._size:
                self.dropped += 1
                return
            self._spans.append(span)
            is_enough = len(self._spans) >= _BATCH
        if is_enough:
            self._enough.set()

    def end(self, seconds: float) -> None:
        """Take no more, and send what waits, for so long at most."""
        with self._lock:
            self._ends = True
        self._enough.set()
        until = time.monotonic() + seconds
        self._thread.join(seconds)
        self._exporter.shutdown()  # ends what waits to try again
        self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while True:
            self._enough.wait(_WAIT_SECONDS)
            with self._lock:
                batch = [self._spans.popleft() for _ in range(min(_BATCH, len(self._spans)))]
                if len(self._spans) < _BATCH and not self._ends:
                    self._enough.clear()
                is_last = self._ends and not self._spans
            if batch:
                self._send(batch)
            if is_last:
                return

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            is_taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # whatever the exporter cannot do must not end the thread
            _log.exception("traces_failed")
            is_taken = False
        with self._lock:
            self.sent += len(batch) * is_taken
            self.dropped += len(batch) * (not is_taken)
        if is_taken != self._is_taken:
            self._is_taken = is_taken
            _log.warning("traces_taken_again" if is_taken else "traces_not_taken")


class _Span:
    """A span of the SDK."""

    def __init__(self, begun: RecordedSpan) -> None:
        self._begun = begun
        context = begun.get_span_context()
        self._traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"

    @property
    def traceparent(self) -> str:
        """The text by which another program makes parts of this one."""
        return self._traceparent

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes."""
        self._begun.set_attributes(dict(attributes))

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._begun.update_name(name)

    def fail(self, kind: str) -> None:
        """Say that it failed."""
        self._begun.set_status(Status(StatusCode.ERROR))
        self._begun.set_attribute("error.type", kind)

    def end(self, at: int | None = None) -> None:
        """End it."""
        self._begun.end(at)


def _context(parent: str) -> Context:
    """Return the context of a traceparent that is known to be one; an empty one begins a trace."""
    if not parent:
        return Context()
    _, trace_id, span_id, flags = parent.split("-")[:4]
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(context), Context())


def _url(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        is_server = (
            parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc and not parts.query
        )
    except ValueError:
        is_server = False
    if not is_server:
        raise TracesError("the endpoint of traces is no URL of a server: https://HOST:4318, without any password in it")
    return f"{endpoint.rstrip('/')}/v1/traces"
