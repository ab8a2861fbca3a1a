"""`stead console`: an instance's serial port on this terminal."""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Final

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import say

_HANG_UP: Final = b"\x1d"  # Ctrl-]
_PIECE: Final = 4096
_LOOK_SECONDS: Final = 0.2


@click.command()
@click.argument("instance_id", metavar="INSTANCE")
def console(instance_id: str) -> None:
    """Join an instance's serial port, of any account, until Ctrl-] or the end of the input.

    Only one session is there at a time. What the guest wrote before is in its console output (GetConsoleOutput).
    """
    operator = Operator(settings.load())
    ends = False

    def keys() -> Iterator[bytes]:
        """Yield what is typed, and nothing now and then, so that the end of the session is noticed."""
        while not ends:
            if not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
                yield b""
                continue
            typed = os.read(sys.stdin.fileno(), _PIECE)
            before, hang_up, _ = typed.partition(_HANG_UP)
            if before:
                yield before
            if hang_up or not typed:
                return

    def opened() -> None:
        say(f"the serial port of {instance_id}; Ctrl-] leaves it")

    with _raw():
        try:
            operator.console(instance_id, keys, opened, _show)
        finally:
            ends = True
    say("")


def _show(text: bytes) -> None:
    """Write what the guest wrote, byte by byte."""
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Pass on all keys at once, if this is a terminal; its own settings come back."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
