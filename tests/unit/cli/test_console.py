"""`stead console` on a terminal: keys go through as they are, Ctrl-] leaves, and the terminal is as it was before."""

import os
import sys
import termios
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from stead_cli import console


class FakeOperator:
    """Joins a serial port that only listens."""

    typed: list[bytes]
    said: bytes = b""
    ends: bool = False
    types: Callable[[], object] = staticmethod(lambda: None)  # what happens once the port is open

    def __init__(self, _settings: Any) -> None:
        FakeOperator.typed = []

    def console(
        self, instance_id: str, keys: Callable[[], Iterator[bytes]], opened: Callable[[], None], show: Any
    ) -> None:
        assert instance_id == "i-1"
        opened()
        show(self.said)
        self.types()
        for piece in keys():
            if piece:
                FakeOperator.typed.append(piece)
            elif self.ends:
                return


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of a terminal at which somebody types; the command has the other as its input."""
    ours, theirs = os.openpty()
    monkeypatch.setattr(console, "Operator", FakeOperator)
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours
    os.close(ours)


def test_keys_go_through_until_ctrl_bracket(
    terminal: int, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    before = termios.tcgetattr(terminal)
    monkeypatch.setattr(FakeOperator, "said", b"login: \xff")
    monkeypatch.setattr(FakeOperator, "types", lambda _: os.write(terminal, b"root\r\x03\x1dnever"))
    callback: Any = console.console.callback
    callback("i-1")
    assert b"".join(FakeOperator.typed) == b"root\r\x03"
    assert b"login: \xff" in capfdbinary.readouterr().out
    assert termios.tcgetattr(terminal) == before


def test_it_ends_with_the_session(terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeOperator, "ends", True)
    callback: Any = console.console.callback
    callback("i-1")
    assert FakeOperator.typed == []
    assert "INSTANCE" in CliRunner().invoke(console.console, ["--help"]).output
