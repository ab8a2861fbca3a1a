"""Traces of one call across programs, off until `start`: then nothing is loaded, and each question is one comparison.

    with within(begin("ec2.RunInstances", parent=header)):   # a span without a span around it, if it is to be recorded
        with span("placement"): …                            # a part of the span around it; nothing where there is none

Programs tell each other of a span by its `traceparent`: https://www.w3.org/TR/trace-context/#traceparent-header.
"""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

type Kind = Literal["server", "internal", "producer", "consumer"]
type Value = str | int | bool

PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
DISTRIBUTIONS: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
"""What `pip` knows them by."""
_TRACEPARENT: Final = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")
_LONGEST: Final = 512  # of a traceparent of a later version, which may have more fields
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2


class TracesError(Exception):
    """These traces cannot be sent: what is missing, or wrong with the settings."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where traces go: by OTLP over HTTP to `endpoint`, below which is /v1/traces; empty is nowhere.

    `share` of the calls, from 0 to 1, that bring no traceparent are traced; of others who called decides.
    """

    endpoint: str = ""
    share: float = 1.0
    ca_file: Path | None = None  # PEM of the authority of that server's certificate
    headers_file: Path | None = None  # lines of NAME: VALUE, such as a token; may be read by its owner alone


class Span(Protocol):
    """A part of a trace that goes on; any thread may use it."""

    @property
    def traceparent(self) -> str:
        """The text by which another program makes parts of this one."""

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes; never anything that a user would not show to an operator."""

    def rename(self, name: str) -> None:
        """Give it another name, once it is known what it is."""

    def fail(self, kind: str) -> None:
        """Say that it failed, by the code of the error or the name of its class; texts may have secrets."""

    def end(self, at: int | None = None) -> None:
        """End it now, or at this time in Unix nanoseconds."""


class Recorder(Protocol):
    """What makes spans and sends them on; `stead_proto.traces_export.Export` is one."""

    @property
    def sent(self) -> int:
        """How many spans the server has taken."""

    @property
    def dropped(self) -> int:
        """How many it never got, or did not take."""

    def begin(
        self, name: str, parent: str, kind: Kind, attributes: Mapping[str, Value], began: int | None
    ) -> Span | None:
        """Begin a span, if it is to be recorded."""

    def stop(self, seconds: float) -> None:
        """Send what waits, for so long at most."""


_recorder: Recorder | None = None
_current: Final[ContextVar[Span | None]] = ContextVar("span", default=None)
_nothing: Final = contextlib.nullcontext()


def start(settings: Settings, program: str, name: str) -> None:
    """Record from now on as this `program` of the machine or host `name`; raises TracesError.

    To be called by the process that works: what sends is a thread, which a fork would not have.
    """
    try:
        from stead_proto.traces_export import Export  # noqa: PLC0415 - an extra, loaded only where it is wanted
    except ImportError as error:
        raise TracesError(f"{error.name} is missing: install {' and '.join(DISTRIBUTIONS)}") from error
    use(Export(settings, program, name))


def use(recorder: Recorder | None) -> None:
    """Record by this from now on; None: no more."""
    global _recorder
    _recorder = recorder


def stop(seconds: float = 2.0) -> None:
    """Record no more, and send what waits, for so long at most."""
    recorder = _recorder
    use(None)
    if recorder is not None:
        recorder.stop(seconds)


def is_on() -> bool:
    """Tell whether spans are recorded at all."""
    return _recorder is not None


def counts() -> tuple[int, int]:
    """Return how many spans were sent, and how many were dropped."""
    return (0, 0) if _recorder is None else (_recorder.sent, _recorder.dropped)


def begin(
    name: str,
    parent: str = "",
    kind: Kind = "internal",
    attributes: Mapping[str, Value] | None = None,
    began: int | None = None,
) -> Span | None:
    """Begin a span, now or in Unix nanoseconds, that its caller ends; None if it is not to be recorded.

    It is part of `parent`, a traceparent, which may be anybody's text: what is none begins a trace.
    """
    if _recorder is None:
        return None
    return _recorder.begin(name, parent if is_traceparent(parent) else "", kind, attributes or {}, began)


def record(name: str, parent: str, began: int, attributes: Mapping[str, Value], *, failed: str = "") -> None:
    """Record what is over by now, as a part of `parent`; without that, nothing."""
    done = begin(name, parent, "internal", attributes, began) if is_traceparent(parent) else None
    if done is not None:
        if failed:
            done.fail(failed)
        done.end()


def span(
    name: str, attributes: Mapping[str, Value] | None = None, kind: Kind = "internal"
) -> AbstractContextManager[Span | None]:
    """Record the block as a part of the span around it, if there is one; what it raises makes it a failed one."""
    around = _current.get()
    return _nothing if around is None else _inside(begin(name, around.traceparent, kind, attributes))


def within(around: Span | None) -> AbstractContextManager[Span | None]:
    """Make a span the one around the block, in this thread or task; it goes on afterwards."""
    return _nothing if around is None else _around(around)


@contextlib.contextmanager
def _around(around: Span) -> Iterator[Span | None]:
    token = _current.set(around)
    try:
        yield around
    finally:
        _current.reset(token)


@contextlib.contextmanager
def _inside(made: Span | None) -> Iterator[Span | None]:
    if made is None:
        yield None
        return
    try:
        with _around(made):
            yield made
    except BaseException as error:
        made.fail(type(error).__name__)
        raise
    finally:
        made.end()


def is_traceparent(text: str) -> bool:
    """Tell whether a text is a traceparent, of this version or a later one."""
    found = _TRACEPARENT.match(text) if len(text) <= _LONGEST else None
    if found is None or found["version"] == "ff" or not int(found["trace"], 16) or not int(found["span"], 16):
        return False
    rest = text[found.end() :]
    return not rest or (found["version"] != "00" and rest.startswith("-"))


def now() -> int:
    """Return the time in Unix nanoseconds."""
    return time.time_ns()


def read_headers(path: Path) -> dict[str, str]:
    """Read a headers file; raises TracesError, without its content, which is secret."""
    try:
        if path.stat().st_mode & 0o077:
            raise TracesError(f"others may read {path}: chmod 600 {path}")
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeError) as error:
        raise TracesError(f"{path} cannot be read: {type(error).__name__}") from error
    headers = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not line:
            continue
        if not colon or not _NAME.match(name):
            raise TracesError(f"line {number} of {path} is no NAME: VALUE")
        headers[name] = value.strip()
    return headers
