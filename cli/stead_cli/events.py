"""`stead events`: what was called of the AWS APIs, by whom and with what outcome, from the controller's audit trail."""

import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from stead_cli import settings
from stead_cli.errors import CliError

_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.(data))?(?:\.(\d+))?\.jsonl")
_POLL_SECONDS: Final = 0.3
_MOST_ARNS: Final = 3  # of a line on a terminal


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what is called from now on.")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=20, show_default=True, help="How many, at most.")
@click.option("--account", default="", help="Only of this account.")
@click.option("--service", default="", help="Only of this service, such as ec2.")
@click.option("--operation", default="", help="Only of this operation, such as RunInstances.")
@click.option("--failed", is_flag=True, help="Only what was refused, or failed.")
@click.option("--changes", is_flag=True, help="Only what is not reading alone.")
@click.option("--data", is_flag=True, help="Also calls about data: objects, blocks, metrics.")
@click.option(
    "--output", type=click.Choice(["table", "json"]), default="table", help="Lines, or records as CloudTrail's."
)
def events(*, follow: bool, lines: int, data: bool, output: str, **chosen: Any) -> None:
    """Show the last calls of the AWS APIs, of all accounts; run it on the controller's machine."""
    folder = settings.load().controller_dir / "audit"
    if not os.access(folder.parent, os.R_OK | os.X_OK):
        if folder.parent.exists():
            raise CliError(f"you may not read {folder}", "as root: ./stead events")
        raise CliError(f"there is no controller's state at {folder.parent}", "on its machine: ./stead events")
    trail = Trail(folder, lambda record: wanted(record, **chosen), data=data)
    for record in trail.last(lines):
        _show(record, output)
    while follow:
        time.sleep(_POLL_SECONDS)
        for record in trail.new():
            _show(record, output)


class Trail:
    """Files of records, which their controller appends to, and of which it removes the oldest."""

    def __init__(self, folder: Path, wanted: Callable[[dict[str, Any]], bool], *, data: bool) -> None:
        """Take the folder, which may not exist yet, and what is wanted; with `data` also calls about data."""
        self._folder = folder
        self._wanted = wanted
        self._kinds = ("", "data") if data else ("",)
        self._read: dict[str, int] = {}  # bytes of each file

    def last(self, most: int) -> list[dict[str, Any]]:
        """Return the newest records that are wanted, the oldest first; no more files are read than that needs.

        What is there now is not new any more. Raises OSError.
        """
        found: list[dict[str, Any]] = []
        for kind in self._kinds:
            of_kind: list[dict[str, Any]] = []
            for path in reversed(self._files(kind)):
                if len(of_kind) < most:
                    here = deque(self._records(path), most - len(of_kind))
                    of_kind[:0] = here
                else:
                    self._read[path.name] = path.stat().st_size
            found += of_kind
        found.sort(key=lambda record: str(record["eventTime"]))
        return found[-most:]

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield what is wanted of the records that were appended since the last time; raises OSError."""
        for kind in self._kinds:
            for path in self._files(kind):
                yield from self._records(path)

    def _records(self, path: Path) -> Iterator[dict[str, Any]]:
        try:
            file = path.open("rb")
        except FileNotFoundError:  # it was removed just now
            return
        with file:
            place = file.seek(self._read.get(path.name, 0))
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    break
                place += len(line)
                self._read[path.name] = place
                record = json.loads(line)
                if self._wanted(record):
                    yield record

    def _files(self, kind: str) -> list[Path]:
        """List the files of a kind, the oldest first."""
        found = []
        for path in self._folder.iterdir() if self._folder.exists() else ():
            name = _NAME.fullmatch(path.name)
            if name and (name[2] or "") == kind:
                found.append((name[1], int(name[3] or 0), path))
        return [path for *_, path in sorted(found)]


def wanted(record: dict[str, Any], *, account: str, service: str, operation: str, failed: bool, changes: bool) -> bool:
    """Tell whether a record is one of those asked for; what is empty or false asks for all."""
    asked: tuple[tuple[object, Callable[[], bool]], ...] = (
        (account, lambda: account in (record.get("recipientAccountId"), record["userIdentity"].get("accountId"))),
        (service, lambda: record["eventSource"].partition(".")[0] == service.lower()),
        (operation, lambda: record["eventName"].lower() == operation.lower()),
        (failed, lambda: "errorCode" in record),
        (changes, lambda: not record["readOnly"]),
    )
    return all(holds() for is_asked, holds in asked if is_asked)


def line_of(record: dict[str, Any]) -> str:
    """Make a line of a record: when, where from, who, what, with what outcome; parts are separated by tabs.

    Calls of operators, and of machines that enrol, are of no account.
    """
    who = record["userIdentity"]
    account = who.get("accountId") or record.get("recipientAccountId")
    name = who.get("arn", "").rpartition(":")[2] or who.get("accessKeyId") or who["type"]
    if account is None:
        account, name = "-", who["principalId"] or who["type"]
    outcome = record.get("errorCode") or " ".join(_named(record)) or "-"
    service = record["eventSource"].partition(".")[0]
    call = f"{service}:{record['eventName']}"
    return "\t".join(
        _printable(part) for part in (record["eventTime"], record["sourceIPAddress"], account, name, call, outcome)
    )


def _printable(text: str) -> str:
    """Show what would move the cursor of a terminal: callers choose names."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _named(record: dict[str, Any]) -> list[str]:
    """What a call was about, by the last parts of its ARNs."""
    names = [each["ARN"].rpartition(":")[2] for each in record.get("resources", ())]
    return [*names[:_MOST_ARNS], *([f"and {len(names) - _MOST_ARNS} more"] if len(names) > _MOST_ARNS else [])]


def _show(record: dict[str, Any], output: str) -> None:
    click.echo(json.dumps(record) if output == "json" else line_of(record))
