"""A real engine of metrics for tests: one VictoriaMetrics for a test process, which each test adopts in its own loop."""

import asyncio
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from stead_controller import clock
from stead_controller.metrics.embedded import PROCESS_FILE, EmbeddedEngine
from stead_controller.metrics.engine_store import EngineStore


def store_on(folder: Path) -> EngineStore:
    """A store on the engine of a folder, as another controller finds it; close it in the same loop."""
    return EngineStore(EmbeddedEngine(folder), clock.now)


def running_in(folder: Path) -> Iterator[Path]:
    """Start an engine, and kill it in the end."""
    asyncio.run(_start(folder))
    try:
        yield folder
    finally:
        kill(folder)


async def _start(folder: Path) -> None:
    engine = EmbeddedEngine(folder)
    await engine.show_written()
    await engine.close()


def process_in(folder: Path) -> int:
    """The process of the engine in this folder."""
    return int((folder / PROCESS_FILE).read_text(encoding="ascii").split()[0])


def kill(folder: Path) -> None:
    """Kill the engine, and wait until it has ended."""
    process = process_in(folder)
    handle = os.pidfd_open(process)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    assert poller.poll(20_000)
    os.close(handle)
