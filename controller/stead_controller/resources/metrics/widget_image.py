"""The image of a picture: drawn by a process of its own, a few at a time."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

from stead_controller.errors import SteadError, TooManyRequests

_PROGRAM: Final = "stead_controller.widget_drawing"
_AT_ONCE: Final = 2
_MOST_ASKED: Final = 20  # at a time: each takes a second of a processor, and its data wait in memory
_SECONDS: Final = 60.0
# The library must be able to write somewhere. The service may not write to /tmp where its state is below that.
_ENVIRONMENT: Final = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "TMPDIR": "/dev/shm",  # noqa: S108 - the program makes a folder of its own in it
}

_log = logging.getLogger(__name__)
_places = threading.Semaphore(_MOST_ASKED)


class NotDrawn(SteadError):
    """The process that draws has failed, or took too long; the reason is in the log."""

    def __init__(self) -> None:
        """Set what a caller is told."""
        super().__init__("The image cannot be drawn at the moment.", code="ServiceUnavailable")


async def draw(picture: Mapping[str, Any]) -> bytes:
    """Return the PNG of a picture; raises NotDrawn, and TooManyRequests while too many others are drawn."""
    if not _places.acquire(blocking=False):
        raise TooManyRequests
    try:
        return await asyncio.get_running_loop().run_in_executor(_workers(), _draw, json.dumps(picture).encode())
    finally:
        _places.release()


@cache
def _workers() -> ThreadPoolExecutor:
    """Make the threads that wait for processes; others wait for them."""
    return ThreadPoolExecutor(_AT_ONCE, "drawing")


def _draw(picture: bytes) -> bytes:
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", _PROGRAM],
            input=picture,
            capture_output=True,
            env=_ENVIRONMENT,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        _log.error("image_not_drawn", extra={"reason": f"{error}: {said.decode(errors='replace')[-1000:]}"})
        raise NotDrawn from error
    return done.stdout
