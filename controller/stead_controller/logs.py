"""Log lines: the event's name is constant, the data are fields; JSON lines, or plain text on a terminal."""

import json
import logging
import sys
from pathlib import Path
from typing import Final

from stead_proto.bounded_log import BoundedHandler, OncePerSecond

_PLAIN: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """One line per record: time, level, event and its fields."""

    def __init__(self, *, as_json: bool) -> None:
        """Choose between JSON and text."""
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Format a record with the fields given in its `extra`."""
        fields = {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        time = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}"
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            line = {"time": time, "level": record.levelname, "event": record.getMessage(), **fields}
            return json.dumps(line, default=str)
        text = " ".join(f"{name}={value}" for name, value in fields.items())
        return f"{time} {record.levelname:<7} {record.getMessage()} {text}".rstrip()


def set_up(level: str, log_file: Path | None = None) -> BoundedHandler:
    """Send all logs to standard error; where that is `log_file`, the file is rotated when it is large."""
    handler = BoundedHandler(log_file)
    handler.addFilter(OncePerSecond("stead_controller", _is_of_client))
    handler.setFormatter(FieldFormatter(as_json=not sys.stderr.isatty()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return handler


def _is_of_client(fault: BaseException) -> bool:
    """Tell whether invalid HTTP or TLS from a client is the cause, by class name: these libraries are loaded later."""
    names = {kind.__name__ for kind in type(fault).__mro__}
    return bool(names & {"HttpProcessingError", "RequestPayloadError", "SSLError", "ConnectionError"})
