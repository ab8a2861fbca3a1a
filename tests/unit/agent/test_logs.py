"""One line per event, for people and for programs."""

import json
import logging

import pytest

from stead_agent import logs


@pytest.fixture(autouse=True)
def _root_as_before() -> object:
    """The root logger's handlers come back after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    return None


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logs.Log("stead_agent.x").info("machine_started", machine="i-1", start=2)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["machine"], line["start"], line["level"]) == ("machine_started", "i-1", 2, "info")


def test_text_lines_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logs.Log("stead_agent.x").warning("unit_failed", unit="i-1", reason='two\nlines and "quotes"', empty="")
    out = capsys.readouterr().err
    assert out.count("\n") == 1
    assert out.endswith('WARNING unit_failed unit=i-1 reason="two\\nlines and \\"quotes\\"" empty=""\n')


def test_errors_bring_their_stack(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        _ = 1 // 0
    except ZeroDivisionError as error:
        logs.Log("stead_agent.x").error("unit_broke", error=error)
    assert "ZeroDivisionError: " in json.loads(capsys.readouterr().err)["stack"]


def test_lines_name_the_request_that_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with logs.for_request("req-1"):
        logs.Log("stead_agent.x").info("machine_started", machine="i-1")
        logging.getLogger("stead_agent.y").warning("disk_slow", extra={"disk": "vol-1"})
        with logs.for_request(""):
            logs.Log("stead_agent.x").info("other")
    logs.Log("stead_agent.x").info("later")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("request") for line in lines] == ["req-1", "req-1", None, None]


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "warning")
    logs.Log("stead_agent.x").info("machine_started")
    assert capsys.readouterr().err == ""


def test_the_data_of_plain_loggers_are_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logging.getLogger("stead_agent.y").info("guest_process_ended", extra={"machine": "i-1"})
    assert capsys.readouterr().err.endswith("INFO    guest_process_ended machine=i-1\n")
