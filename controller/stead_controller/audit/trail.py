"""What calls leave behind is written beside them: noting one costs a line in memory, a loop writes all of a second.

A call never waits for its record. When records come faster than they can be written, the newest are dropped, counted,
and the log says how many. A controller that is killed loses the records of about a second; one that stops, none.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, Protocol

from stead_controller.audit.files import AuditFiles
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.resources import audit_events
from stead_controller.resources.audit_events import AuditEvent

_log = logging.getLogger(__name__)

_SECONDS: Final = 1.0
_MOST_RECORDS: Final = 10_000
_MOST_WEIGHT: Final = 64 << 20  # bytes
_BATCH: Final = 500
_LAST_TRIES: Final = 3


class Noted(Protocol):
    """Something that is to be recorded."""

    @property
    def weight(self) -> int:
        """About how many bytes it holds in memory."""


class Trail[Record: Noted]:
    """A bounded queue of records, and the loop that writes them to files and database."""

    def __init__(
        self,
        database: Database,
        files: AuditFiles,
        draw: Callable[[Record], AuditEvent],
        clock: Clock,
        *,
        days: int,
        most_events: int,
    ) -> None:
        """Take where to write, and what makes an event of a record; events stay `days` and at most `most_events`."""
        self._database = database
        self._files = files
        self._draw = draw
        self._clock = clock
        self._kept = timedelta(days=days)
        self._most_events = most_events
        self._queue: deque[Record] = deque()
        self._weight = 0
        self._unsaved: list[AuditEvent] = []
        self.dropped = 0
        self._dropped_told = 0

    def note(self, record: Record) -> None:
        """Take a record, or drop it; call in the event loop."""
        if len(self._queue) >= _MOST_RECORDS or self._weight + record.weight > _MOST_WEIGHT:
            self.dropped += 1
            return
        self._queue.append(record)
        self._weight += record.weight

    async def run(self) -> None:
        """Write what was noted, every second, until cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.flush()
            except Exception:  # the loop must outlive a database that is away for a while
                _log.exception("audit_not_written", extra={"events": len(self._unsaved)})

    async def close(self) -> None:
        """Write what is left; call when no further record can come."""
        for attempt in range(_LAST_TRIES):
            try:
                await self.flush()
            except Exception:  # a stop must end; the files have what the database has not
                _log.exception("audit_not_written", extra={"events": len(self._unsaved), "attempt": attempt})
            else:
                return

    async def flush(self) -> None:
        """Write all that is noted by now; raises what the database raises, and keeps what it has not for next time."""
        await self._save()
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            self._weight -= sum(record.weight for record in batch)
            events = await asyncio.to_thread(self._write, batch)
            self._unsaved = [event for event in events if event.account_id]
            await self._save()
        if self.dropped > self._dropped_told:
            _log.warning("audit_dropped", extra={"now": self.dropped - self._dropped_told, "in_all": self.dropped})
            self._dropped_told = self.dropped

    async def remove_old(self) -> None:
        """Remove what is kept no longer, in small transactions."""
        await asyncio.to_thread(self._files.remove_old, self._clock())
        before = self._clock() - self._kept
        while await self._database.run(lambda tx: audit_events.remove_old(tx, before, self._most_events)):
            pass

    async def _save(self) -> None:
        events = self._unsaved
        if events:
            await self._database.run(lambda tx: audit_events.add(tx, events))
            self._unsaved = []

    def _write(self, batch: Sequence[Record]) -> list[AuditEvent]:
        events = []
        for record in batch:
            try:
                events.append(self._draw(record))
            except Exception:  # one record that cannot be made must not take the others with it
                _log.exception("audit_record_failed")
        try:
            self._files.append([event.text for event in events], self._clock())
        except OSError:
            _log.exception("audit_file_not_written", extra={"events": len(events)})
        return events
