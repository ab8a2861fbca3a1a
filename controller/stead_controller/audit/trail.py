"""What calls leave behind is written beside them: noting one costs a line in memory, other tasks write it.

A call never waits for its record. What is noted within some hundredths of a second is written to the file together, and
is on the disk when that is done; rows for LookupEvents follow within a second. A controller that is killed loses the
records of that first moment only: rows that are missing are made anew of the files at its next start. When records
come faster than they can be written, the newest are dropped, counted, and the log says how many.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from stead_controller.audit.files import AuditFiles
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.resources import audit_events
from stead_controller.resources.audit_events import AuditEvent

_log = logging.getLogger(__name__)

_GATHER_SECONDS: Final = 0.025
_SAVE_SECONDS: Final = 1.0
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
    """A bounded queue of records, and the tasks that write them to files and database."""

    def __init__(
        self,
        database: Database,
        files: AuditFiles,
        draw: Callable[[Record], AuditEvent],
        recall: Callable[[str], AuditEvent | None],
        clock: Clock,
        *,
        days: int,
        most_events: int,
        data_files: AuditFiles | None = None,
    ) -> None:
        """Take where to write, what makes an event of a record, and what makes it of the file's line again.

        Events stay `days` and at most `most_events`. Those of data go to files of their own, where there are such, so
        that they do not push out the others.
        """
        self._data_files = data_files or files
        self._database = database
        self._files = files
        self._draw = draw
        self._recall = recall
        self._clock = clock
        self._kept = timedelta(days=days)
        self._most_events = most_events
        self._queue: deque[Record] = deque()
        self._weight = 0
        self._unsaved: deque[AuditEvent] = deque()
        self._has_some = asyncio.Event()
        self._is_ending = asyncio.Event()
        self._one_writes = asyncio.Lock()
        self._one_saves = asyncio.Lock()
        self.dropped = 0
        self._dropped_told = 0

    def note(self, record: Record) -> None:
        """Take a record, or drop it; call in the event loop."""
        if len(self._queue) >= _MOST_RECORDS or self._weight + record.weight > _MOST_WEIGHT:
            self.dropped += 1
            return
        self._queue.append(record)
        self._weight += record.weight
        self._has_some.set()

    async def run(self) -> None:
        """Make up for what an earlier run could not save, then write what is noted, until cancelled."""
        await self._try(self.recover)
        tasks = [asyncio.create_task(work()) for work in (self._keep_writing, self._keep_saving)]
        try:
            await asyncio.shield(asyncio.gather(*tasks))
        finally:
            # What was begun is ended, so that nothing is written twice or by two at once.
            self._is_ending.set()
            self._has_some.set()
            await asyncio.gather(*tasks)

    async def _keep_writing(self) -> None:
        while not self._is_ending.is_set():
            await self._has_some.wait()
            if not self._is_ending.is_set():
                await asyncio.sleep(_GATHER_SECONDS)
                await self._try(self._write_all)

    async def _keep_saving(self) -> None:
        while not self._is_ending.is_set():
            try:
                async with asyncio.timeout(_SAVE_SECONDS):
                    await self._is_ending.wait()
            except TimeoutError:
                await self._try(self._save_all)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except Exception:  # the tasks must outlive a disk or database that is away for a while
            _log.exception("audit_not_written", extra={"events": len(self._unsaved)})
            return False
        return True

    async def close(self) -> None:
        """Write what is left; call when no further record can come."""
        for _attempt in range(_LAST_TRIES):
            if await self._try(self.flush):
                return

    async def flush(self) -> None:
        """Write all that is noted by now; raises what the database raises, and keeps what it has not for next time."""
        await self._write_all()
        await self._save_all()

    async def recover(self) -> None:
        """Save what the files have and the database has not, of the newest records.

        From the newest on, until the database has all that there is to save of a batch: rows are saved in order.
        """
        lines = await asyncio.to_thread(self._files.newest, _MOST_RECORDS)
        oldest = self._clock() - self._kept
        lost: list[AuditEvent] = []
        while lines:
            lines, batch = lines[:-_BATCH], lines[-_BATCH:]
            known = await asyncio.to_thread(list, map(self._recall, batch))
            events = [event for event in known if event is not None and event.account_id and event.time >= oldest]
            missing = await self._database.run(partial(audit_events.missing, events=events), writes=False)
            lost = missing + lost
            if events and not missing:
                break
        for first in range(0, len(lost), _BATCH):
            await self._database.run(partial(audit_events.add, events=lost[first : first + _BATCH]))
        if lost:
            _log.info("audit_recovered", extra={"events": len(lost)})

    async def remove_old(self) -> None:
        """Remove what is kept no longer, in small transactions; of too many those of whoever has the most."""
        for files in {self._files, self._data_files}:
            await asyncio.to_thread(files.remove_old, self._clock())
        before = self._clock() - self._kept
        while await self._database.run(lambda tx: audit_events.remove_old(tx, before)):
            pass
        too_many = await self._database.run(lambda tx: audit_events.excess(tx, self._most_events), writes=False)
        for account_id, number in too_many.items():
            await self._remove_oldest(account_id, number)

    async def _remove_oldest(self, account_id: str, number: int) -> None:
        while number > 0:
            gone = await self._database.run(partial(audit_events.remove_oldest, account_id=account_id, number=number))
            if not gone:
                return
            number -= gone

    async def _write_all(self) -> None:
        async with self._one_writes:
            self._has_some.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                self._weight -= sum(record.weight for record in batch)
                events = await asyncio.to_thread(self._write, batch)
                self._unsaved.extend(event for event in events if event.account_id)
            self._drop_unsaved()
        if self.dropped > self._dropped_told:
            _log.warning("audit_dropped", extra={"now": self.dropped - self._dropped_told, "in_all": self.dropped})
            self._dropped_told = self.dropped

    def _drop_unsaved(self) -> None:
        """Let the oldest go where the database has been away for long: the files have them."""
        too_many = len(self._unsaved) - _MOST_RECORDS
        if too_many > 0:
            for _ in range(too_many):
                self._unsaved.popleft()
            _log.warning("audit_rows_dropped", extra={"now": too_many})

    async def _save_all(self) -> None:
        async with self._one_saves:
            while self._unsaved:
                events = [self._unsaved.popleft() for _ in range(min(_BATCH, len(self._unsaved)))]
                try:
                    await self._database.run(partial(audit_events.add, events=events))
                except BaseException:
                    self._unsaved.extendleft(reversed(events))
                    raise

    def _write(self, batch: Sequence[Record]) -> list[AuditEvent]:
        events = []
        for record in batch:
            try:
                events.append(self._draw(record))
            except Exception:  # one record that cannot be made must not take the others with it
                _log.exception("audit_record_failed")
        for files, is_data in ((self._files, False), (self._data_files, True)):
            lines = [event.text for event in events if event.is_data == is_data]
            try:
                files.append(lines, self._clock())
            except OSError:
                _log.exception("audit_file_not_written", extra={"events": len(lines)})
        return events
