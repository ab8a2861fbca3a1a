"""A server for traces, on loopback: it keeps the spans that it is sent by OTLP over HTTP, read by the protocol's own messages."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from stead_proto import traces


@dataclass(frozen=True, slots=True)
class Received:
    """A span that came: ids in hexadecimal digits, times in nanoseconds; `parent` is empty for the first of a trace."""

    program: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    about: dict[str, Any]
    failed: bool


@dataclass
class TraceServer:
    """What came, as spans and as bytes; `status` is what senders are answered, once `answers` is set."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    status: int = 200
    answers: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> list[Received]:
        """The spans of this name."""
        return [each for each in self.spans if each.name == name]

    def of(self, trace: str) -> list[Received]:
        """The spans of a trace."""
        return [each for each in self.spans if each.trace == trace]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Take a message."""
        self.paths.append(path)
        self.headers.append(headers)
        self.bodies.append(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
        self.spans += _read(self.bodies[-1])


def _read(body: bytes) -> Iterator[Received]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        program = next(each.value.string_value for each in resource.resource.attributes if each.key == "service.name")
        for scope in resource.scope_spans:
            for span in scope.spans:
                about = {
                    each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes
                }
                yield Received(
                    program,
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    about,
                    span.status.code == Status.STATUS_CODE_ERROR,
                )


@contextmanager
def running() -> Iterator[TraceServer]:
    """Run a server that answers at once."""
    server = TraceServer()
    server.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            server.answers.wait(60)
            if server.status == 200:
                server.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(server.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        server.answers.set()
        http.shutdown()
        thread.join()
        http.server_close()


@contextmanager
def tracing(share: float = 1.0) -> Iterator[TraceServer]:
    """Trace what this process does; call `traces.stop()` before looking at what came."""
    with running() as server:
        traces.start(traces.Settings(server.url, share), "test", "here")
        try:
            yield server
        finally:
            traces.stop()
