"""Converts scalar values of service models from and to text: integers, booleans, floats, timestamps, blobs."""

import binascii
import math
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Final

from stead_controller.errors import InvalidParameter

_INTEGER: Final = re.compile(r"-?[0-9]{1,19}\Z")
_FLOAT: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?\Z")
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?\Z",
)
INTEGER_RANGES: Final = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


def refusal(text: str, name: str, expected: str) -> InvalidParameter:
    """Return the error for a parameter whose text is not of its type."""
    shown = text if len(text) <= 100 else text[:100] + "…"
    return InvalidParameter(f"Value ({shown}) for parameter {name} is invalid. {expected}")


def check_length(text: str, low: int | None, high: int | None, name: str) -> str:
    """Return the text unchanged; raises InvalidParameter if it has fewer than `low` or more than `high` characters."""
    if high is not None and len(text) > high:
        raise refusal(text, name, f"Expecting at most {high} characters.")
    if low is not None and len(text) < low:
        raise refusal(text, name, f"Expecting at least {low} characters.")
    return text


def check_range(value: float, low: float | None, high: float | None, name: str) -> None:
    """Raise InvalidParameter unless the value is within its limits."""
    if (low is not None and value < low) or (high is not None and value > high):
        raise refusal(str(value), name, f"Expecting a value from {low} to {high}.")


def integer(text: str, name: str) -> int:
    """Read a decimal integer of up to 64 bits; the caller checks the range."""
    if not _INTEGER.match(text):
        raise refusal(text, name, "Expecting an integer.")
    return int(text)


def boolean(text: str, name: str) -> bool:
    """Read `true` or `false` in any case."""
    lowered = text.lower()
    if lowered == "true":
        return True
    if lowered == "false":
        return False
    raise refusal(text, name, "Expecting true or false.")


def floating(text: str, name: str) -> float:
    """Read a finite decimal number."""
    value = float(text) if _FLOAT.match(text) else math.inf
    if not math.isfinite(value):
        raise refusal(text, name, "Expecting a number.")
    return value


def timestamp(text: str, name: str) -> datetime:
    """Read an ISO 8601 date or time; without an offset it is UTC."""
    found = _TIMESTAMP.match(text)
    if not found:
        raise refusal(text, name, "Expecting a timestamp such as 2026-01-31T12:00:00Z.")
    date, time, fraction, offset = found.groups()
    iso = f"{date}T{time or '00:00:00'}.{(fraction or '0')[:6]:0<6}"
    iso += "+00:00" if offset in (None, "Z", "z") else offset
    try:
        return datetime.fromisoformat(iso).astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal(text, name, "Expecting a timestamp such as 2026-01-31T12:00:00Z.") from None


def blob(text: str, name: str) -> bytes:
    """Read base64, with or without line breaks."""
    try:
        return b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise refusal("", name, "Expecting base64.") from None


def timestamp_text(value: datetime) -> str:
    """Write an aware time as `2026-01-31T12:00:00.000Z`."""
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise TypeError(f"a timestamp without time zone: {value}")
        value = value.astimezone(UTC)
    return value.isoformat("T", "milliseconds")[:-6] + "Z"


def boolean_text(value: bool) -> str:
    """Write `true` or `false`; raises TypeError for anything that is not a bool."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise TypeError(f"not a bool: {value!r}")


def integer_text(value: int) -> str:
    """Write a decimal integer; raises TypeError for anything else."""
    if type(value) is not int:
        raise TypeError(f"not an int: {value!r}")
    return str(value)


def float_text(value: float) -> str:
    """Write a number that reads back as the same number."""
    return repr(float(value))


def blob_text(value: bytes) -> str:
    """Write bytes as base64."""
    return b64encode(value).decode("ascii")
