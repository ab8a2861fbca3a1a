"""Guests that tests boot without a controller: one whose QEMU died of itself is booted again, once.

QEMU's emulation ends by an assertion of its own now and then, at some boot. An instance is recovered from that by
Stead; what these tests look at is below Stead, so nobody but them is there to do it.
"""

import re
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from stead_cli.processes import last_lines
from tests.support.waiting import wait_for

# What the C library and GLib write before they abort a program.
_ABORTED = re.compile(
    r"^.*(?:Assertion `.*' failed|ERROR:.*: (?:assertion failed|code should not be reached))", re.MULTILINE
)
_SIGNALS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


class EmulatorDiedError(Exception):
    """QEMU ended by a signal that it raised itself: what the guest did, or did not do, says nothing."""


def check_status(status: int, words: str) -> None:
    """Raise EmulatorDiedError for the status of a QEMU that ended, as `subprocess` gives it, by a fault of its own."""
    if -status in _SIGNALS:
        raise EmulatorDiedError(f"{signal.Signals(-status).name}: {words}")


def raise_for_log(log: Path, seconds: float = 5) -> NoReturn:
    """Raise EmulatorDiedError for a QEMU whose log of libvirt's says that an assertion ended it, else AssertionError.

    What it wrote last comes to the log a moment after its end.
    """
    wait_for(lambda: _ABORTED.search(_text(log)), "QEMU says why it ended", seconds, explain=lambda: last_lines(log))
    raise EmulatorDiedError(last_lines(log))


def check_words(words: str) -> None:
    """Raise EmulatorDiedError when what a QEMU wrote says that an assertion ended it."""
    if _ABORTED.search(words):
        raise EmulatorDiedError(words)


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def booted[Found](boot: Callable[[], Found]) -> Found:
    """Boot a guest and return what that gives; do it once more, with a warning, only if its QEMU died of itself."""
    try:
        return boot()
    except EmulatorDiedError as death:
        warnings.warn(f"a guest's emulator died of itself, and it is booted again: {death}", stacklevel=2)
        return boot()
