"""Structured logs: a constant event name and its data as fields, as JSON lines or as text for a terminal."""

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Literal

from stead_proto.bounded_log import BoundedHandler, OncePerSecond

_FIELDS: Final = "stead_fields"
_RECORD_NAMES: Final = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_request: Final[ContextVar[str]] = ContextVar("request", default="")


@contextlib.contextmanager
def for_request(request: str) -> Iterator[None]:
    """Have each line that this thread logs in the block name the request ids that it is for, if there are any."""
    before = _request.set(request)
    try:
        yield
    finally:
        _request.reset(before)


class Log:
    """Writes events of one module."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        """Log what matters only for debugging."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what an operator may want to read afterwards."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what failed and is tried again."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, *, error: BaseException | None = None, **fields: Any) -> None:
        """Log what needs an operator; an `error` is logged with its stack."""
        self._write(logging.ERROR, event, fields, error)

    def _write(self, level: int, event: str, fields: dict[str, Any], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={_FIELDS: fields}, exc_info=error)


class _Lines(logging.Formatter):
    """One line per event."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        event = record.getMessage()
        stack = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        if self._as_json:
            line: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "event": event, **fields}
            line["logger"] = record.name
            if stack:
                line["stack"] = stack
            return json.dumps(line, default=str)
        words = " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
        return f"{when} {record.levelname:<7} {event} {words}".rstrip() + (f"\n{stack}" if stack else "")


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Collect an event's data: ours, and what other code passed as `extra`."""
    extra = {name: value for name, value in vars(record).items() if name not in _RECORD_NAMES}
    request = {"request": named} if (named := _request.get()) else {}
    return {**extra.pop(_FIELDS, {}), **extra, **request}


def _shown(value: Any) -> str:
    """Render a value, quoted when it has several words."""
    text = str(value)
    return json.dumps(text) if not text or any(each.isspace() or each == '"' for each in text) else text


def configure(form: Literal["json", "text"], level: str = "info", log_file: Path | None = None) -> None:
    """Send all logs to standard error in this form; if that is `log_file`, it is rotated when it is large."""
    handler = BoundedHandler(log_file)
    handler.addFilter(OncePerSecond("stead_agent"))
    handler.setFormatter(_Lines(as_json=form == "json"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
