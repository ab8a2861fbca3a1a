"""Rotates the logs of programs that outlive the agent: they only append, so the agent must check the sizes."""

import asyncio
from pathlib import Path
from typing import Final

from stead_agent.logs import Log
from stead_agent.settings import Settings
from stead_proto import bounded_log

_log = Log(__name__)

_LOOK_SECONDS: Final = 60.0
# Logs of libvirtd without systemd, of the servers of bases still being fetched, of metadata and of the relay.
_OF_STATE: Final = ("libvirtd.log", "disks/bases/filling/*.log")
_OF_RUN: Final = ("metadata/log", "endpoints/log")


def paths(settings: Settings) -> list[Path]:
    """List the existing logs."""
    found = [path for pattern in _OF_STATE for path in settings.state_dir.glob(pattern)]
    return found + [path for pattern in _OF_RUN for path in settings.run_dir.glob(pattern)]


def limit_size(settings: Settings, most_bytes: int = bounded_log.FILE_BYTES) -> None:
    """Truncate each large log after copying it; a log that cannot be truncated now is tried again later."""
    for path in paths(settings):
        try:
            bounded_log.copy_aside_if_large(path, most_bytes)
        except OSError as error:
            _log.warning("log_not_emptied", path=str(path), reason=str(error))


async def run(settings: Settings) -> None:
    """Check periodically, until cancelled."""
    while True:
        await asyncio.to_thread(limit_size, settings)
        await asyncio.sleep(_LOOK_SECONDS)
