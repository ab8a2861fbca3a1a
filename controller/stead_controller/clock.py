"""The controller's only source of wall-clock time, so that tests can set it."""

from collections.abc import Callable
from datetime import UTC, datetime

type Clock = Callable[[], datetime]


def now() -> datetime:
    """Give the present time, aware, in UTC, in whole milliseconds as the database keeps it."""
    present = datetime.now(UTC)
    return present.replace(microsecond=present.microsecond // 1000 * 1000)
