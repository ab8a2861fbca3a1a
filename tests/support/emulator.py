"""Faults of QEMU's emulation, in one of some hundred boots: then the guest's behaviour proves nothing.

QEMU may abort by an assertion: Stead recovers an instance from that; guests that tests boot without a controller are
booted once more by the tests. Or, on a busy machine, a virtual processor gets no timer interrupts any more: in one of
some 100 boots, with ten at a time on two processors. The guest's kernel reports it after 21 seconds and hangs; or it
waits before it has said anything, for ever. The remedy is the same.
"""

import re
import signal
import time
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
# What Linux logs when a sleeping processor was not woken by its own timer (kernel/rcu/tree_stall.h).
_NO_TIMER = re.compile(r"rcu: rcu_\w+ kthread timer wakeup didn't happen for \d+ jiffies")
# The last of a processor's lines in what QEMU's `info registers -a` shows: where it is, and whether it waits.
_PROCESSOR = re.compile(r"RIP=([0-9a-f]{16})\b.*\bHLT=([01])")
_KERNEL = "ffff"  # what the addresses of Linux on x86_64 begin with
_LOOK_SECONDS = 5.0
_SILENT_SECONDS = 60.0
_SIGNALS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


class EmulatorDiedError(Exception):
    """QEMU ended by a signal that it raised itself, or lost a timer of the guest."""


def check_status(status: int, words: str) -> None:
    """Raise EmulatorDiedError if the exit status of QEMU, as of `subprocess`, says that it crashed by itself."""
    if -status in _SIGNALS:
        raise EmulatorDiedError(f"{signal.Signals(-status).name}: {words}")


def raise_for_log(log: Path, seconds: float = 5) -> NoReturn:
    """Raise EmulatorDiedError if libvirt's log of a QEMU says that an assertion ended it, else AssertionError.

    Its last output arrives in the log a moment after its end.
    """
    wait_for(lambda: _ABORTED.search(_text(log)), "QEMU says why it ended", seconds, explain=lambda: last_lines(log))
    raise EmulatorDiedError(last_lines(log))


def check_words(words: str) -> None:
    """Raise EmulatorDiedError when the output of a QEMU says that an assertion ended it."""
    if _ABORTED.search(words):
        raise EmulatorDiedError(words)


def check_console(console: str) -> None:
    """Raise EmulatorDiedError when a guest's kernel says on its console that a timer of its processor was lost."""
    if lost := _NO_TIMER.search(console):
        raise EmulatorDiedError(lost[0])


def check_processors(registers: str) -> None:
    """Raise EmulatorDiedError when all processors of a guest wait in its kernel, by QEMU's `info registers -a`."""
    found = _PROCESSOR.findall(registers)
    if found and all(halted == "1" and place.startswith(_KERNEL) for place, halted in found):
        raise EmulatorDiedError(f"it says nothing, and waits at {', '.join(place for place, _ in found)}")


class HangWatch:
    """Checks a guest's console from time to time; if it lost a timer, resets the guest, once and with a warning."""

    def __init__(
        self, console: Callable[[], str], reset: Callable[[], None], registers: Callable[[], str] = lambda: ""
    ) -> None:
        """Take functions that read its console and registers, and one that ends its QEMU so that it is restarted."""
        self._console = console
        self._reset = reset
        self._registers = registers
        self._began = time.monotonic()
        self._next = self._began + _LOOK_SECONDS

    def look(self) -> None:
        """Check the console, unless the last check was too recent."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_SECONDS
        try:
            console = self._console()
            check_console(console)
            if not console.strip() and time.monotonic() >= self._began + _SILENT_SECONDS:
                check_processors(self._registers())
        except EmulatorDiedError as fault:
            self._next = float("inf")
            warnings.warn(f"a guest's emulator lost a timer, and it is booted again: {fault}", stacklevel=2)
            self._reset()


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def booted[Found](boot: Callable[[], Found]) -> Found:
    """Boot a guest and return the result of `boot`; retry once, with a warning, only if its QEMU crashed by itself."""
    try:
        return boot()
    except EmulatorDiedError as death:
        warnings.warn(f"a guest's emulator died of itself, and it is booted again: {death}", stacklevel=2)
        return boot()
