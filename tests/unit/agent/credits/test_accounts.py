"""What of a machine's life is counted: over stops, restarts of the agent, and reboots of the host."""

from pathlib import Path

import pytest

from stead_agent.credits.accounts import Account, AccountFiles, Moment, Reading, counted, off, opened, running
from stead_agent.credits.interface import Terms
from stead_agent.credits.ledger import CREDIT, Ledger

WEEK = 7 * 86_400
T2 = Terms(vcpus=1, per_hour=6_000, most=144_000, at_start=30_000)
T3 = Terms(vcpus=2, per_hour=12_000, most=288_000, saved_seconds=WEEK)
HOUR = 3_600_000
MINUTE = 60_000_000_000
UNIX = 1_800_000_000


def at(milliseconds: int, boot: str = "boot-1") -> Moment:
    return Moment(boot, milliseconds, UNIX + milliseconds // 1000)


def begun(terms: Terms) -> Account:
    return running(opened(at(0), used(0)), terms, 1, at(0), used(0))


def used(cpu_time: int, process: str = "7", began: int = 0) -> Reading:
    return Reading(process, began, cpu_time)


def test_what_was_used_before_the_account_is_not_counted() -> None:
    account = running(opened(at(HOUR), used(500 * MINUTE)), T3, 1, at(HOUR), used(500 * MINUTE))
    account = counted(account, T3, at(2 * HOUR), used(502 * MINUTE))
    assert account.ledger.spent == 2 * CREDIT
    assert account.ledger.earned == 10 * CREDIT


def test_time_without_an_agent_is_counted(tmp_path: Path) -> None:
    files = AccountFiles(tmp_path / "credits")
    files.save("i-1", counted(begun(T3), T3, at(HOUR), used(MINUTE)))
    account = files.load("i-1")
    assert account is not None
    account = counted(running(account, T3, 1, at(3 * HOUR), used(5 * MINUTE)), T3, at(3 * HOUR), used(5 * MINUTE))
    assert account.ledger.earned == 31 * CREDIT


def test_a_start_that_no_agent_saw_is_counted_from_its_process() -> None:
    account = begun(T2)
    now, reading = at(3 * HOUR), used(MINUTE, "8", began=2 * HOUR)
    account = counted(running(account, T2, 2, now, reading), T2, now, reading)
    assert (account.ledger.at_start, account.ledger.earned) == (29 * CREDIT, 6 * CREDIT)


def test_the_host_continues_a_start_without_new_credits() -> None:
    account = counted(begun(T2), T2, at(HOUR), used(10 * MINUTE))
    now, reading = at(900, "boot-2"), used(0, "3", began=800)
    account = running(account, T2, 1, now, reading)
    assert (account.ledger.at_start, account.ledger.earned) == (20 * CREDIT, 6 * CREDIT)
    assert counted(account, T2, at(800 + HOUR, "boot-2"), used(0, "3")).ledger.earned == 12 * CREDIT


def test_another_process_is_not_counted_before_its_start_is_known() -> None:
    account = begun(T3)
    assert counted(account, T3, at(HOUR), used(MINUTE, "8")) is account
    assert counted(account, T3, at(HOUR, "boot-2"), used(MINUTE)) is account


def test_clocks_that_go_back_take_nothing() -> None:
    account = counted(begun(T3), T3, at(HOUR), used(MINUTE))
    assert counted(account, T3, at(HOUR - 5), used(MINUTE - 5)) == account


def test_t2_loses_all_at_a_stop_and_t3_after_a_week() -> None:
    t2 = off(counted(begun(T2), T2, at(HOUR), used(0)), T2, at(HOUR))
    assert t2.ledger.shown.credits == 0
    t3 = off(counted(begun(T3), T3, at(HOUR), used(0)), T3, at(HOUR))
    assert t3.ledger.earned == 12 * CREDIT
    reading = used(0, "8")
    assert running(t3, T3, 2, at(HOUR + 1000 * WEEK - 1), reading).ledger.earned == 12 * CREDIT
    assert running(t3, T3, 2, at(HOUR + 1000 * WEEK), reading).ledger.earned == 0
    assert off(t3, T3, at(HOUR + 1000 * WEEK)).ledger.earned == 0


def test_a_stop_begins_when_it_is_first_seen() -> None:
    account = off(begun(T3), T3, at(HOUR))
    assert off(account, T3, at(2 * HOUR)) == account
    assert running(account, T3, 2, at(3 * HOUR), used(0, "8")).off_since == 0


def test_accounts_outlive_their_agent(tmp_path: Path) -> None:
    files = AccountFiles(tmp_path / "credits")
    assert files.present() == frozenset()
    assert files.load("i-1") is None
    account = Account(Ledger(1, 2, 3, 4, 5, 6), 7, "boot", "8", 9, 10, 11)
    files.save("i-1", account)
    assert AccountFiles(tmp_path / "credits").load("i-1") == account
    assert files.present() == {"i-1"}
    files.remove("i-1")
    files.remove("i-1")
    assert files.present() == frozenset()
    assert list((tmp_path / "credits").iterdir()) == []


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    files = AccountFiles(tmp_path)
    (tmp_path / "i-1.new").write_bytes(b"{")
    assert files.load("i-1") is None
    assert files.present() == {"i-1"}
    files.remove("i-1")
    assert files.present() == frozenset()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"ledger": {"earned": 1}, "counted": 2, "newer": 3}'])
def test_files_of_other_releases_and_spoilt_ones(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "i-1.json").write_bytes(content)
    known = Account(Ledger(earned=1), counted=2) if b"newer" in content else None
    assert AccountFiles(tmp_path).load("i-1") == known


@pytest.mark.parametrize("name", ["", "../i-1", ".hidden"])
def test_only_names_of_machines_are_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a machine's id"):
        AccountFiles(tmp_path).save(name, Account())
