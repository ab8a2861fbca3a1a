"""VictoriaMetrics as the engine, which the controller runs on its own machine from the first datum or question on.

It is Debian's package, in its own network namespace (`stead_controller.network_sandbox`), because it has no users. It
outlives the controller, is found again by its process file, and is restarted after it has died. It may be killed at any
instruction: what it has acknowledged is on disk after two seconds, and agents send again what it has not acknowledged.

By itself it shows what was written only after some seconds; here it is asked to before the next question.
"""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from stead_controller.enclosed_process import EnclosedProcess
from stead_controller.metrics.datum import MetricsUnavailable
from stead_controller.metrics.http_engine import WRITE_PATH, HttpEngine, NoAnswer

PROCESS_FILE: Final = "victoria-metrics.pid"
LOG_FILE: Final = "victoria-metrics.log"

_PROGRAM: Final = "victoria-metrics"
_PORT: Final = 8428
_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 0.25  # apart at least
_PAUSE_SECONDS: Final = 0.2  # after which a process that is ending has ended
_SOCKETS: Final = 8
_FEW_SOCKETS: Final = 4
_ENVIRONMENT: Final = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    # Go's heap; without a limit it doubles before each collection.
    "GOMEMLIMIT": "56MiB",
    "GOGC": "30",
}
_OPTIONS: Final = (
    "-storageDataPath=data",
    f"-httpListenAddr=127.0.0.1:{_PORT}",
    "-retentionPeriod=455d",  # CloudWatch's 15 months
    "-memory.allowedBytes=24MiB",
    "-dedup.minScrapeInterval=1ms",  # what agents send again after a failure counts once
    "-inmemoryDataFlushInterval=2s",
    "-search.latencyOffset=0s",  # what was written is read at once
    "-search.disableCache",
    "-search.disableAutoCacheReset",
    "-search.maxPointsPerTimeseries=110000",  # CloudWatch answers at most 100,800
    "-search.maxUniqueTimeseries=500000",
    "-search.maxSeries=500000",
    "-search.maxQueryLen=64KiB",
    "-search.maxConcurrentRequests=2",
    "-storage.minFreeDiskSpaceBytes=100MB",
    "-http.connTimeout=0",
    "-http.idleConnTimeout=24h",
    "-http.disableResponseCompression",
    "-loggerLevel=WARN",
)


class EmbeddedEngine:
    """A VictoriaMetrics with its state in `folder`, started at the first use."""

    def __init__(self, folder: Path) -> None:
        """Set the paths; nothing is started or created yet."""
        self._folder = folder
        self._process = EnclosedProcess("metrics", folder, PROCESS_FILE, folder / LOG_FILE)
        self._starting = asyncio.Lock()
        self._http: HttpEngine | None = None
        self._sockets: list[socket.socket] = []
        self._flushing = asyncio.Lock()
        self._is_hidden = True  # what was written, by an earlier controller too, may not be seen by questions yet
        self._flushed = 0.0

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a body, and return that of the answer; raises MetricsUnavailable."""
        try:
            return await self._post(path, body, headers)
        finally:
            self._is_hidden |= path == WRITE_PATH

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send it a second time if the connection belonged to a process that has just ended; all may be repeated."""
        try:
            return await (await self._ready()).post(path, body, headers)
        except NoAnswer:
            await asyncio.sleep(_PAUSE_SECONDS)
            return await (await self._ready()).post(path, body, headers)

    async def show_written(self) -> None:
        """Let questions see all that has been written; raises MetricsUnavailable."""
        async with self._flushing:
            if not self._is_hidden:
                return
            await asyncio.sleep(self._flushed + _FLUSH_SECONDS - time.monotonic())
            self._is_hidden = False  # first: what is written meanwhile may be hidden again
            try:
                await self.post("/internal/force_flush", b"", {})
            except BaseException:
                self._is_hidden = True
                raise
            self._flushed = time.monotonic()

    async def close(self) -> None:
        """Close connections; the process keeps running."""
        await self._forget()
        self._process.close()

    async def _ready(self) -> HttpEngine:
        async with self._starting:
            try:
                if self._http is None or not self._process.is_alive():
                    await self._forget()
                    await asyncio.to_thread(self._adopt_or_start)
                    self._http = await self._wait_until_ready()
                if len(self._sockets) < _FEW_SOCKETS:
                    self._sockets += await asyncio.to_thread(self._process.sockets, _SOCKETS)
            except OSError as error:
                raise MetricsUnavailable(f"the engine of metrics cannot be started: {error}") from error
            self._process.bound_log()
            return self._http

    async def _forget(self) -> None:
        """Close what leads to a process that has ended."""
        if self._http is not None:
            await self._http.close()
        self._http = None
        for each in self._sockets:
            each.close()
        self._sockets = []

    def _adopt_or_start(self) -> None:
        self._process.make_folder()
        if self._process.adopt() is not None:
            return
        program = shutil.which(_PROGRAM, path=_ENVIRONMENT["PATH"])
        if program is None:
            raise FileNotFoundError(f"{_PROGRAM} is not there: apt-get install {_PROGRAM}, or set --metrics-endpoint")
        (self._folder / "data").mkdir(mode=0o700, exist_ok=True)
        self._process.start(
            [Path(program), *_OPTIONS], {**_ENVIRONMENT, "GOMAXPROCS": str(min(2, os.cpu_count() or 1))}
        )

    async def _wait_until_ready(self) -> HttpEngine:
        """Wait until it answers; raises OSError if it ends or does not become ready."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            engine = None
            try:
                # Before it has entered its own network, this is the controller's, where nobody may answer for it.
                self._sockets += await asyncio.to_thread(self._process.sockets, _SOCKETS)
                engine = HttpEngine(f"http://127.0.0.1:{_PORT}", take_socket=self._take_socket)
                await engine.post("/health", b"", {})
                return engine
            except (OSError, MetricsUnavailable) as error:
                reason = str(error)
                if engine is not None:
                    await engine.close()
                self._http = None
                await self._forget()
            if not self._process.is_alive() or time.monotonic() > deadline:
                raise OSError(f"it does not come up, see {self._folder / LOG_FILE}: {reason}")
            await asyncio.sleep(_POLL_SECONDS)

    def _take_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        del address
        if not self._sockets:
            raise ConnectionError("all connections to the engine of metrics are in use")
        return self._sockets.pop()
