"""`stead events` reads the files that the controller's audit trail writes, while it writes them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stead_cli.__main__ import cli
from stead_cli.events import Trail
from stead_controller.audit import files as files_module
from stead_controller.audit.files import AuditFiles
from stead_controller.operator.recording import MACHINES, OPERATORS, OperatorCall
from tests.support.processes import clean_environment

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def record(number: int, **changes: Any) -> str:
    """A line as the controller writes it, of a minute that its number says."""
    made = {
        "eventTime": f"2026-03-04T05:{number:02}:00Z",
        "eventSource": "ec2.amazonaws.com",
        "eventName": "RunInstances",
        "sourceIPAddress": "192.0.2.1",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111111111111:user/ann", "accountId": "111111111111"},
        "readOnly": False,
        "resources": [{"type": "AWS::EC2::Instance", "ARN": f"arn:aws:ec2:us-east-1:111111111111:instance/i-{number}"}],
        "recipientAccountId": "111111111111",
    }
    return json.dumps(made | changes)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a controller that was never called."""
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path))
    (tmp_path / "controller").mkdir()
    return tmp_path / "controller" / "audit"


@pytest.fixture
def written(state: Path) -> AuditFiles:
    """The files of calls."""
    return AuditFiles(state, days=9, most_bytes=1 << 30)


def shown(*options: str) -> list[str]:
    done: Result = CliRunner().invoke(cli, ["events", *options])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_a_line_says_when_who_what_and_how_it_ended(written: AuditFiles) -> None:
    many = [{"type": "x", "ARN": f"arn:aws:ec2:r:1:instance/i-{number}"} for number in range(5)]
    written.append(
        [
            record(1),
            record(2, errorCode="Client.UnauthorizedOperation"),
            record(3, resources=[], eventSource="s3.amazonaws.com", eventName="ListBuckets"),
            record(4, resources=many),
            record(5, userIdentity={"type": "Unknown", "accessKeyId": "AKIAX"}),
            record(6, userIdentity={"type": "AWSService"}, resources=many[:3]),
            record(7, recipientAccountId="222222222222"),
        ],
        NOW,
    )
    start = "2026-03-04T05:0{}:00Z\t192.0.2.1\t111111111111\t{}\t{}"
    run = "ec2:RunInstances"
    assert shown() == [
        start.format(1, "user/ann", f"{run}\tinstance/i-1"),
        start.format(2, "user/ann", f"{run}\tClient.UnauthorizedOperation"),
        start.format(3, "user/ann", "s3:ListBuckets\t-"),
        start.format(4, "user/ann", f"{run}\tinstance/i-0 instance/i-1 instance/i-2 and 2 more"),
        start.format(5, "AKIAX", f"{run}\tinstance/i-5"),
        start.format(6, "AWSService", f"{run}\tinstance/i-0 instance/i-1 instance/i-2"),
        start.format(7, "user/ann", f"{run}\tinstance/i-7"),
    ]


def test_calls_of_operators_and_of_machines_that_enrol_are_of_no_account(written: AuditFiles) -> None:
    one: dict[str, Any] = {"name": "DrainHost", "peer": "192.0.2.1", "request": None, "error": None, "time": NOW}
    as_operator = OperatorCall(OPERATORS, caller="stead:operator:admin", **one)
    as_machine = OperatorCall(MACHINES, caller="", **one | {"name": "Enrol", "error": "PERMISSION_DENIED"})
    written.append([each.drawn("us-east-1").text for each in (as_operator, as_machine)], NOW)
    start = "2026-03-04T05:06:07Z\t192.0.2.1\t-\t"
    assert shown() == [
        f"{start}stead:operator:admin\toperator:DrainHost\t-",
        f"{start}Machine\tenrolment:Enrol\tPERMISSION_DENIED",
    ]
    assert shown("--account=111111111111") == []
    assert shown("--service=operator", "--changes") == shown()[:1]


def test_nothing_of_a_caller_moves_the_cursor(written: AuditFiles) -> None:
    written.append([record(1, eventName="\x1b[2J\tZoë\n")], NOW)
    [line] = shown()
    assert "ec2:\\x1b[2J\\tZoë\\n" in line
    assert json.loads(shown("--output", "json")[0])["eventName"] == "\x1b[2J\tZoë\n"


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), [1, 2, 3, 4, 5]),
        (("--lines=2",), [4, 5]),
        (("--lines=0",), []),
        (("--account=222222222222",), [2, 3]),
        (("--account=333333333333",), [3]),
        (("--service=S3",), [4]),
        (("--operation=runinstances",), [1, 2, 3]),
        (("--failed",), [2]),
        (("--changes",), [1, 2, 3, 4]),
        (("--changes", "--failed"), [2]),
        (("--changes", "--lines=1"), [4]),
    ],
)
def test_what_is_asked_for_is_shown(written: AuditFiles, options: tuple[str, ...], numbers: list[int]) -> None:
    other = {"type": "IAMUser", "arn": "arn:aws:iam::222222222222:user/bob", "accountId": "222222222222"}
    written.append(
        [
            record(1),
            record(2, userIdentity=other, recipientAccountId="222222222222", errorCode="Client.X"),
            record(3, userIdentity=other, recipientAccountId="333333333333"),
            record(4, eventSource="s3.amazonaws.com", eventName="PutBucketTagging"),
            record(5, eventName="DescribeInstances", readOnly=True),
        ],
        NOW,
    )
    assert [int(line[14:16]) for line in shown(*options)] == numbers


def test_calls_about_data_are_among_the_others(state: Path, written: AuditFiles) -> None:
    of_data = AuditFiles(state, days=9, most_bytes=1 << 30, kind="data")
    of_data.append([record(2), record(5)], NOW)
    written.append([record(1), record(3), record(4)], NOW)
    (state / "notes.jsonl").write_text("of somebody else")
    assert [line[15] for line in shown()] == ["1", "3", "4"]
    assert [line[15] for line in shown("--data")] == ["1", "2", "3", "4", "5"]
    assert [line[15] for line in shown("--data", "--lines=3")] == ["3", "4", "5"]


def test_only_the_files_that_are_needed_are_read(
    state: Path, written: AuditFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "_FILE_BYTES", 900)  # one record each
    for number in range(12):
        written.append([record(number), record(number)], NOW + timedelta(days=number // 6))
    seen: list[int] = []

    def note(found: dict[str, Any]) -> bool:
        seen.append(int(found["eventTime"][14:16]))
        return True

    trail = Trail(state, note, data=False)
    assert [int(found["eventTime"][14:16]) for found in trail.last(3)] == [10, 11, 11]
    assert sorted(set(seen)) == [10, 11]
    assert list(trail.new()) == []
    written.append([record(30)], NOW + timedelta(days=1))
    written.append([record(31)], NOW + timedelta(days=2))
    assert [found["eventTime"][14:16] for found in trail.new()] == ["30", "31"]


def test_half_a_line_waits_for_its_other_half(state: Path, written: AuditFiles) -> None:
    written.append([record(1)], NOW)
    trail = Trail(state, lambda _: True, data=False)
    [path] = state.iterdir()
    with path.open("ab") as file:
        file.write(record(2)[:40].encode())
    assert len(trail.last(9)) == 1
    assert list(trail.new()) == []
    with path.open("ab") as file:
        file.write(f"{record(2)[40:]}\n".encode())
    assert [found["eventTime"][15] for found in trail.new()] == ["2"]
    path.unlink()
    assert list(trail.new()) == []


def test_it_follows(state: Path, written: AuditFiles) -> None:
    written.append([record(1)], NOW)
    command = [sys.executable, "-m", "stead_cli", "events", "--follow", "--changes"]
    environment = clean_environment(STEAD_STATE_DIR=str(state.parents[1]), PYTHONUNBUFFERED="1")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        read: Callable[[], str] = process.stdout.readline
        assert read().startswith("2026-03-04T05:01")
        written.append([record(2, readOnly=True), record(3)], NOW)
        assert read().startswith("2026-03-04T05:03")
        written.append([record(4)], NOW + timedelta(days=1))
        assert read().startswith("2026-03-04T05:04")
        process.kill()


def test_where_there_is_no_trail_it_says_why(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown() == []
    assert not state.exists()
    monkeypatch.setattr(os, "access", lambda *_: False)
    done = CliRunner().invoke(cli, ["events"])
    assert (done.exit_code, "you may not read" in done.output) == (1, True)
    (tmp_path / "controller").rmdir()
    done = CliRunner().invoke(cli, ["events"])
    assert (done.exit_code, "there is no controller's state" in done.output) == (1, True)
