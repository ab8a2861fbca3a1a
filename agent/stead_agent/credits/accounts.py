"""The account of one burstable machine: its ledger, and what of its life has been counted in it already.

Two clocks are needed. While a machine runs, time is the host's since its boot, which nobody can set; how long it is off
may go over a reboot, and is counted by the time of day.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from stead_agent.credits import ledger as ledgers
from stead_agent.credits.interface import Balance, Terms
from stead_agent.credits.ledger import Ledger
from stead_agent.logs import Log

_log = Log(__name__)

_SUFFIX: Final = ".json"
_NEW: Final = ".new"


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by both clocks."""

    boot_id: str  # of the host's boot that `since_boot` is of
    since_boot: int  # milliseconds, suspension included
    unix: int  # seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """What the vCPUs of a running machine have used."""

    process: str  # the process that runs it: no other of this boot has this name
    began: int  # when it did, in milliseconds since the host's boot
    cpu_time: int  # of its vCPUs since then, in nanoseconds


@dataclass(frozen=True, slots=True)
class Account:
    """A machine's ledger, counted up to a moment of its life."""

    ledger: Ledger = field(default_factory=Ledger)
    start_count: int = 0  # the start that it runs since; 0 = it is off
    boot_id: str = ""  # of the host's boot in which it runs
    process: str = ""
    counted_at: int = 0  # milliseconds since that boot
    counted: int = 0  # nanoseconds of CPU time of that process
    off_since: int = 0  # Unix seconds; 0 = it was never off
    made: int = 0  # Unix seconds; 0 = by an earlier release

    @property
    def shown(self) -> Balance:
        """What is reported."""
        return replace(self.ledger.shown, made=self.made)


def opened(now: Moment, reading: Reading, saved: int = 0) -> Account:
    """Return the account of a machine that runs and has none yet: counted from now on, whenever it was started.

    It begins with what it has saved on another host, in thousandths.
    """
    begins = saved * ledgers.THOUSANDTH
    return Account(
        Ledger(earned=begins, gained=begins),
        boot_id=now.boot_id,
        process=reading.process,
        counted_at=now.since_boot,
        counted=reading.cpu_time,
        off_since=now.unix,
        made=now.unix,
    )


def counted(account: Account, terms: Terms, now: Moment, reading: Reading) -> Account:
    """Return the account of a running machine, counted up to now; the same when another process runs it."""
    if (account.boot_id, account.process) != (now.boot_id, reading.process):
        return account
    passed = max(0, now.since_boot - account.counted_at)
    spent = max(0, reading.cpu_time - account.counted)
    return replace(
        account,
        ledger=ledgers.after(account.ledger, terms, passed, spent),
        counted_at=account.counted_at + passed,
        counted=account.counted + spent,
    )


def running(account: Account, terms: Terms, start_count: int, now: Moment, reading: Reading) -> Account:
    """Return the account of a machine that runs since a start that the account may not know yet.

    It is counted from the beginning of the start's process, whenever that was. A host that went down starts its
    machines again under the same number: that continues the start, without new credits.
    """
    if account.start_count != start_count:
        account = off(account, terms, now)
        account = replace(account, ledger=ledgers.started(account.ledger, terms), start_count=start_count, off_since=0)
    if (account.boot_id, account.process) == (now.boot_id, reading.process):
        return account
    return replace(account, boot_id=now.boot_id, process=reading.process, counted_at=reading.began, counted=0)


def off(account: Account, terms: Terms, now: Moment) -> Account:
    """Return the account of a machine that is off now: it earns nothing, and what it has saved expires in time.

    Expiry is applied whenever it is looked at, so also at the next start.
    """
    if account.start_count:
        account = replace(
            account,
            ledger=ledgers.stopped(account.ledger),
            start_count=0,
            boot_id="",
            process="",
            off_since=now.unix,
        )
    if now.unix - account.off_since >= terms.saved_seconds:
        account = replace(account, ledger=ledgers.expired(account.ledger))
    return account


class AccountFiles:
    """The accounts in files of one folder, by machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, machine_id: str) -> Account | None:
        """Read an account; None when there is none, or one that cannot be read, which is logged."""
        path = self._path(machine_id)
        try:
            return _parse(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            _log.error("credits_unreadable", error=error, machine=machine_id)
            return None

    def save(self, machine_id: str, account: Account) -> None:
        """Write an account, so that after a power cut there is the old one or this; OSError when that fails."""
        path = self._path(machine_id)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(_NEW)
        with new.open("wb") as file:
            file.write(json.dumps(asdict(account)).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def remove(self, machine_id: str) -> None:
        """Delete an account."""
        path = self._path(machine_id)
        path.with_suffix(_NEW).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def present(self) -> frozenset[str]:
        """List the machines that have an account."""
        if not self._folder.is_dir():
            return frozenset()
        return frozenset(path.stem for path in self._folder.iterdir() if path.suffix in {_SUFFIX, _NEW})

    def _path(self, machine_id: str) -> Path:
        if not machine_id or "/" in machine_id or machine_id.startswith("."):
            raise ValueError(f"not a machine's id: {machine_id!r}")
        return self._folder / f"{machine_id}{_SUFFIX}"


def _parse(found: dict[str, Any]) -> Account:
    """Read what `save` wrote, or an earlier release did: fields that it had not are as in a new account."""
    known = {each.name for each in fields(Account)}
    of_ledger = {each.name for each in fields(Ledger)}
    given = {name: value for name, value in found.items() if name in known}
    given["ledger"] = Ledger(**{name: value for name, value in found["ledger"].items() if name in of_ledger})
    return Account(**given)
