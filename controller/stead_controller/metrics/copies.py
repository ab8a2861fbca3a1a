"""Copies of all samples for another server that takes Prometheus's remote-write protocol, such as Mimir or Grafana's.

What is stored here is written to a folder before the writer hears of it, and sent from there: nothing is lost when the
controller is killed, or the other server is away, until `MOST_BYTES` wait; then the oldest are dropped. A sample may be
sent twice. https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

import asyncio
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stead_controller.metrics.datum import MetricsUnavailable
from stead_controller.metrics.engine_store import Engine
from stead_controller.metrics.http_engine import WRITE_PATH, HttpEngine, Refused
from stead_controller.metrics.remote_write import HEADERS, content_of, framed

MOST_BYTES: Final = 256 << 20
"""How much may wait: about an hour of 1,000 instances that are measured each minute."""

_BATCH_BYTES: Final = 2 << 20
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 60.0
_ENDING: Final = ".samples"
_TOO_MANY_REQUESTS: Final = 429

_log = logging.getLogger(__name__)


class Spool:
    """Messages in a folder, a file each, in order; may be used by several threads."""

    def __init__(self, folder: Path) -> None:
        """Find what an earlier process has left; raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._sizes: OrderedDict[int, int] = OrderedDict()
        for path in sorted(folder.iterdir()):
            if path.suffix == _ENDING:
                self._sizes[int(path.stem)] = path.stat().st_size
            else:
                path.unlink()  # it was being written when that process was killed: its writer never heard of it
        self._next = next(reversed(self._sizes), 0) + 1
        self._bytes = sum(self._sizes.values())

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._sizes)

    def put(self, content: bytes) -> int:
        """Add a message, and return how many of the oldest were dropped for it; raises OSError."""
        with self._lock:
            number, self._next = self._next, self._next + 1
        path = self._path(number)
        part = path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        with self._lock:
            self._sizes[number] = len(content)
            self._bytes += len(content)
            oldest = []
            waiting = self._bytes
            for each in sorted(self._sizes):
                if waiting <= MOST_BYTES:
                    break
                oldest.append(each)
                waiting -= self._sizes[each]
        self.remove(oldest)
        return len(oldest)

    def first(self) -> tuple[list[int], bytes]:
        """Return the numbers of the oldest messages and their contents together; empty without any. Raises OSError."""
        numbers: list[int] = []
        size = 0
        with self._lock:
            for number in sorted(self._sizes):
                size += self._sizes[number]
                if numbers and size > _BATCH_BYTES:
                    break
                numbers.append(number)
        contents = []
        for number in numbers:
            try:
                contents.append(self._path(number).read_bytes())
            except FileNotFoundError:
                continue  # dropped meanwhile
        return numbers, b"".join(contents)

    def remove(self, numbers: list[int]) -> None:
        """Remove messages; raises OSError."""
        for number in numbers:
            self._path(number).unlink(missing_ok=True)
            with self._lock:
                self._bytes -= self._sizes.pop(number, 0)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:020}{_ENDING}"


class Copies:
    """Sends what is put into its folder, the oldest first, while `run` runs."""

    def __init__(self, folder: Path, receiver: HttpEngine) -> None:
        """Take the folder and where to send to; raises OSError."""
        self._spool = Spool(folder)
        self._receiver = receiver
        self._has_more = asyncio.Event()
        self._has_more.set()
        self._fails = False

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._spool)

    async def put(self, body: bytes) -> None:
        """Have the samples of a request's body sent; what cannot be kept is logged, not raised."""
        try:
            dropped = await asyncio.to_thread(self._spool.put, content_of(body))
        except OSError as error:
            _log.error("metrics_not_copied", extra={"detail": str(error)})
            return
        if dropped:
            _log.error("metrics_not_copied", extra={"detail": "too many wait", "messages": dropped})
        self._has_more.set()

    async def run(self) -> None:
        """Send until cancelled."""
        wait = _FIRST_WAIT_SECONDS
        try:
            while True:
                await self._has_more.wait()
                self._has_more.clear()
                if await self._send_first():
                    wait = _FIRST_WAIT_SECONDS
                else:
                    self._has_more.set()
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        finally:
            await self._receiver.close()

    async def _send_first(self) -> bool:
        """Send the oldest messages; False if they must be sent again, or cannot be read or removed now."""
        try:
            numbers, content = await asyncio.to_thread(self._spool.first)
            if content and not await self._send(content):
                return False
            await asyncio.to_thread(self._spool.remove, numbers)
        except OSError as error:
            _log.error("metrics_copies_unreadable", extra={"detail": str(error)})
            return False
        if numbers:
            self._has_more.set()
        return True

    async def _send(self, content: bytes) -> bool:
        """Send samples; False if they must be sent again. What the receiver calls wrong is dropped."""
        try:
            await self._receiver.post("", framed(content), HEADERS)
        except Refused as error:
            if error.status >= 500 or error.status == _TOO_MANY_REQUESTS:
                return self._failed(error)
            _log.error("metrics_copy_refused", extra={"detail": error.detail})
            return True
        except MetricsUnavailable as error:
            return self._failed(error)
        if self._fails:
            _log.info("metrics_copied_again")
        self._fails = False
        return True

    def _failed(self, error: MetricsUnavailable) -> bool:
        if not self._fails:
            _log.error("metrics_copy_waits", extra={"detail": error.detail})
        self._fails = True
        return False


class CopyingEngine:
    """An engine of whose samples another server gets copies, once the engine has them."""

    def __init__(self, engine: Engine, copies: Copies) -> None:
        """Take the engine, and what sends the copies."""
        self._engine = engine
        self._copies = copies

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a body to the engine, and return that of the answer; raises MetricsUnavailable."""
        answer = await self._engine.post(path, body, headers)
        if path == WRITE_PATH:
            await self._copies.put(body)
        return answer

    async def show_written(self) -> None:
        """Let questions see all that has been written."""
        await self._engine.show_written()

    async def close(self) -> None:
        """Close the engine's connections; copies wait for the next start."""
        await self._engine.close()
