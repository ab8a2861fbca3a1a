"""Keeps the log readable while the database's server is away: each loop that fails for it says so once a minute."""

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import DBAPIError

from stead_controller.db.failures import is_away

SECONDS: Final = 60.0
_MOST_FAULT: Final = 200


class OutageRecords(logging.Filter):
    """Lets one record of a kind pass each minute whose error is that the server is away, as a line without traceback.

    Else an outage of a night would leave nothing of what was before it: a log has a limited size. A kind is a logger,
    a message and the work that it names; the next one of it says how many were left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str, str], tuple[float, int]] = {}  # when it passed, how many have not since

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record passes; of one of an outage only the first line of the error does."""
        fault = record.exc_info[1] if record.exc_info else None
        if not isinstance(fault, DBAPIError) or isinstance(fault.orig, sqlite3.Error) or not is_away(fault):
            return True
        kind = (record.name, str(record.msg), str(getattr(record, "work", "")))
        passed, left_out = self._said.get(kind, (-SECONDS, 0))
        at = self._clock()
        if at < passed + SECONDS:
            self._said[kind] = (passed, left_out + 1)
            return False
        self._said[kind] = (at, 0)
        if left_out:
            record.left_out = left_out
        record.fault = f"{type(fault.orig).__name__}: {fault.orig}".partition("\n")[0][:_MOST_FAULT]
        record.exc_info = record.exc_text = None
        return True
