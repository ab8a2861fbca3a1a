"""The record of each call is in a file before the call is answered; rows for LookupEvents follow within a second.

Records that arrive while a batch is being written form the next batch. A call that changed something waits until its
record is on the disk, a call that only read until the kernel has it: a kill loses neither, a power cut loses at most a
second of reads. Missing rows are rebuilt from the files at the next start. When the disk is full, the space reserved
for this case is released; when that is used up as well, `keep` raises, and the call fails. Records that no call waits
for stay in memory and are retried; when records arrive faster than they can be written, the newest are dropped, and
the log says how many.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol

from stead_controller.audit import stored_events
from stead_controller.audit.files import AuditFiles
from stead_controller.audit.stored_events import AuditEvent
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.errors import OutOfRoom
from stead_controller.room import Room

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
_SAVE_SECONDS: Final = 1.0
_MOST_RECORDS: Final = 10_000
_MOST_WEIGHT: Final = 64 << 20  # bytes
_BATCH: Final = 500
_LAST_TRIES: Final = 3


class Noted(Protocol):
    """Something to be recorded."""

    @property
    def weight(self) -> int:
        """The approximate number of bytes that it takes in memory."""


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
        room: Room | None = None,
    ) -> None:
        """Take where to write, and the functions that make an event from a record and from a line of the file.

        Events are retained for `days` and at most `most_events` of them. Data events go to separate files, if there
        are any, so that they do not displace the others. The space reserved by `room` is released when the files' disk
        is full.
        """
        self._room = room
        self._data_files = data_files or files
        self._database = database
        self._files = files
        self._draw = draw
        self._recall = recall
        self._clock = clock
        self._retention = timedelta(days=days)
        self._most_events = most_events
        self._queue: deque[_Queued[Record]] = deque()
        self._unwritten: deque[AuditEvent] = deque()
        self._weight = 0
        self._unsaved: deque[AuditEvent] = deque()
        self._has_some = asyncio.Event()
        self._is_ending = asyncio.Event()
        self._one_writes = asyncio.Lock()
        self._one_saves = asyncio.Lock()
        self.dropped = 0
        self._dropped_logged = 0

    @property
    def queued(self) -> int:
        """How many records are not in a file yet."""
        return len(self._queue)

    def note(self, record: Record) -> None:
        """Queue a record that no call waits for, or drop it; call in the event loop."""
        self._take(_Queued(record))

    async def keep(self, record: Record, *, lasting: bool) -> None:
        """Queue a record and wait until it is in its file, if `lasting` until it is on the disk; raises OutOfRoom."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queued = _Queued(record, written, lasting)
        if not self._take(queued):
            raise OutOfRoom
        await written

    def _take(self, queued: "_Queued[Record]") -> bool:
        if len(self._queue) >= _MOST_RECORDS or self._weight + queued.record.weight > _MOST_WEIGHT:
            self.dropped += 1
            return False
        self._queue.append(queued)
        self._weight += queued.record.weight
        self._has_some.set()
        return True

    async def run(self) -> None:
        """Save what an earlier run could not save, then write what is queued, until cancelled."""
        known: list[str] = []  # the lines of an earlier run, read before this run appends to the file

        async def read() -> None:
            known.extend(await self._newest())

        await self._try(read)
        tasks = [asyncio.create_task(work) for work in (self._keep_writing(), self._keep_saving(known))]
        try:
            await asyncio.shield(asyncio.gather(*tasks))
        finally:
            # Finish what was begun, so that nothing is written twice or concurrently.
            self._is_ending.set()
            self._has_some.set()
            await asyncio.gather(*tasks)

    async def _keep_writing(self) -> None:
        while not self._is_ending.is_set():
            await self._has_some.wait()
            if not self._is_ending.is_set() and not await self._try(self._write_all):
                await asyncio.sleep(_RETRY_SECONDS)
                self._has_some.set()

    async def _keep_saving(self, known: list[str]) -> None:
        await self._try(partial(self._save_missing, known))
        known.clear()  # tens of MiB, which would stay as long as this program runs
        while not self._is_ending.is_set():
            try:
                async with asyncio.timeout(_SAVE_SECONDS):
                    await self._is_ending.wait()
            except TimeoutError:
                await self._try(self._sync)
                await self._try(self._save_all)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except Exception:  # the tasks must survive a disk or database that is unavailable for a while
            _log.exception("audit_not_written", extra={"events": len(self._unsaved)})
            return False
        return True

    async def close(self) -> None:
        """Write what is still queued; call when no further record can arrive."""
        for _attempt in range(_LAST_TRIES):
            if await self._try(self.flush):
                return

    async def flush(self) -> None:
        """Write all that is queued; raises what the database raises: what it has not stored is retried next time."""
        await self._write_all()
        await self._sync()
        await self._save_all()

    async def _sync(self) -> None:
        for files in {self._files, self._data_files}:
            if files.has_unsynced:  # else no thread need be woken each second
                await asyncio.to_thread(files.sync)

    async def recover(self) -> None:
        """Save those of the newest records that are in the files but not in the database.

        Go back from the newest until the database has a whole batch: rows are saved in order, so it has the older ones.
        """
        await self._save_missing(await self._newest())

    async def _newest(self) -> list[str]:
        await asyncio.to_thread(self._data_files.repair)
        return await asyncio.to_thread(self._files.newest, _MOST_RECORDS)

    async def _save_missing(self, lines: list[str]) -> None:
        oldest = self._clock() - self._retention
        lost: list[AuditEvent] = []
        while lines:
            lines, batch = lines[:-_BATCH], lines[-_BATCH:]
            known = await asyncio.to_thread(list, map(self._recall, batch))
            events = [event for event in known if event is not None and event.account_id and event.time >= oldest]
            missing = await self._database.run(partial(stored_events.missing, events=events), writes=False)
            lost = missing + lost
            if events and not missing:
                break
        for first in range(0, len(lost), _BATCH):
            await self._database.run(partial(stored_events.add, events=lost[first : first + _BATCH]))
        if lost:
            _log.info("audit_recovered", extra={"events": len(lost)})

    async def remove_old(self) -> None:
        """Remove events past their retention in small transactions; of too many, those of the largest accounts."""
        for files in {self._files, self._data_files}:
            await asyncio.to_thread(files.remove_old, self._clock())
        before = self._clock() - self._retention
        while await self._database.run(lambda tx: stored_events.remove_old(tx, before)):
            pass
        too_many = await self._database.run(lambda tx: stored_events.excess(tx, self._most_events), writes=False)
        for account_id, number in too_many.items():
            await self._remove_oldest(account_id, number)

    async def _remove_oldest(self, account_id: str, number: int) -> None:
        while number > 0:
            gone = await self._database.run(partial(stored_events.remove_oldest, account_id=account_id, number=number))
            if not gone:
                return
            number -= gone

    async def _write_all(self) -> None:
        async with self._one_writes:
            self._has_some.clear()
            while self._queue or self._unwritten:
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                self._weight -= sum(queued.record.weight for queued in batch)
                try:
                    await asyncio.to_thread(self._write, batch)
                except OSError:
                    _settle(batch, OutOfRoom())
                    self._drop_unwritten()
                    raise
                _settle(batch, None)
            self._drop_unsaved()
        if self.dropped > self._dropped_logged:
            _log.warning("audit_dropped", extra={"now": self.dropped - self._dropped_logged, "in_all": self.dropped})
            self._dropped_logged = self.dropped

    def _drop_unwritten(self) -> None:
        """Drop the oldest records that could not be written for long: the calls that waited for them have failed."""
        self._drop_unsaved()
        while len(self._unwritten) > _MOST_RECORDS:
            self._unwritten.popleft()
            self.dropped += 1

    def _drop_unsaved(self) -> None:
        """Drop the oldest records when the database has been unavailable for long: the files have them."""
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
                    await self._database.run(partial(stored_events.add, events=events))
                except BaseException:
                    self._unsaved.extendleft(reversed(events))
                    raise

    def _write(self, batch: "Sequence[_Queued[Record]]") -> None:
        """Format the records and append them; what cannot be appended is first next time. Raises OSError."""
        for queued in batch:
            try:
                event = self._draw(queued.record)
            except Exception:  # one record that cannot be formatted must not lose the others
                _log.exception("audit_record_failed")
                continue
            self._unwritten.append(event)
            if event.account_id:
                self._unsaved.append(event)
        lasting = any(queued.lasting for queued in batch)
        try:
            self._append(lasting=lasting)
        except OSError:
            if self._room is None or not self._room.give_up():
                raise
            self._append(lasting=lasting)

    def _append(self, *, lasting: bool) -> None:
        for files, is_data in ((self._files, False), (self._data_files, True)):
            events = [event for event in self._unwritten if event.is_data == is_data]
            files.append([event.text for event in events], self._clock(), lasting=lasting)
            self._unwritten = deque(event for event in self._unwritten if event.is_data != is_data)


@dataclass(slots=True)
class _Queued[Record: Noted]:
    """A record, and the call that waits for it."""

    record: Record
    written: asyncio.Future[None] | None = None
    lasting: bool = True


def _settle(batch: Sequence[_Queued[Any]], failure: Exception | None) -> None:
    for queued in batch:
        if queued.written is None or queued.written.done():  # the waiting call may have been cancelled
            continue
        if failure is None:
            queued.written.set_result(None)
        else:
            queued.written.set_exception(failure)
