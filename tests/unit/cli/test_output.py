"""Tables, plain lines and JSON; steps with their times."""

import json

import pytest

from stead_cli import output
from stead_cli.steps import Steps

ROWS = [{"id": "i-1", "well": True, "note": None, "more": {"a": 1}}, {"id": "i-2", "well": False, "note": "two\nlines"}]


def test_plain_lines_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows(ROWS, ("id", "well", "note"), "table")
    assert capsys.readouterr().out.splitlines() == ["ID\tWELL\tNOTE", "i-1\tyes\t-", "i-2\tno\ttwo lines"]


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows(ROWS, ("id",), "json")
    assert json.loads(capsys.readouterr().out) == ROWS


def test_nothing_to_show_is_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows([], ("id",), "table", empty="no hosts")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "no hosts\n")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (17 << 20, "17.0 MiB"), (3 << 40, "3072.0 GiB")],
)
def test_bytes_text(count: int, text: str) -> None:
    assert output.bytes_text(count) == text


def test_steps_keep_their_times_and_show_each(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    with steps.step("first") as step:
        step.note = "a note"
    with pytest.raises(ZeroDivisionError), steps.step("second"):
        raise ZeroDivisionError
    assert [(step.name, step.note) for step in steps.done] == [("first", "a note")]
    shown = capsys.readouterr().err
    assert "first" in shown
    assert "a note" in shown
    assert "✗ second" in shown
