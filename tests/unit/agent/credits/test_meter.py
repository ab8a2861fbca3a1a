"""The thread's work on machines, step by step on a clock of the test."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from stead_agent.credits import meter as meters
from stead_agent.credits.accounts import AccountFiles, Moment
from stead_agent.credits.interface import Balance, Terms
from stead_agent.credits.ledger import CREDIT
from stead_agent.credits.meter import Meter

T3 = Terms(vcpus=2, per_hour=12_000, most=288_000, saved_seconds=7 * 86_400)
T2 = Terms(vcpus=1, per_hour=6_000, most=144_000, at_start=30_000)
MINUTE = 60_000_000_000


@dataclass
class Host:
    """A host with one machine."""

    process: str | None = "7"
    cpu_time: int = 0
    limits: list[int | None] = field(default_factory=list)
    refusal: str = ""
    milliseconds: int = 1_000
    boot: str = "boot-1"

    def processor_time(self, _machine_id: str) -> tuple[str, int, int] | None:
        return (self.process, 1_000, self.cpu_time) if self.process is not None else None

    def limit_processors(self, _machine_id: str, share: int | None) -> str:
        self.limits.append(share)
        return self.refusal

    def now(self) -> Moment:
        return Moment(self.boot, self.milliseconds, 1_800_000_000 + self.milliseconds // 1000)

    def live(self, seconds: float, cpu_minutes: float = 0.0) -> None:
        self.milliseconds += int(1000 * seconds)
        self.cpu_time += int(MINUTE * cpu_minutes)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(meters, "COUNT_SECONDS", 3600.0)  # tests count themselves
    return Host()


@pytest.fixture
def meter(host: Host, tmp_path: Path) -> Iterator[Meter]:
    made = Meter(host, tmp_path, now=host.now)
    yield made
    made.close()


def test_a_machine_earns_and_spends(host: Host, meter: Meter) -> None:
    assert meter.watch("i-1", T3, 1) == Balance()
    host.live(3600, cpu_minutes=2)
    assert meter.watch("i-1", T3, 1) == Balance()  # as last shown
    assert meter.count("i-1")
    assert meter.watch("i-1", T3, 1) == Balance(credits=10_000, spent=2_000)


def test_balances_are_renewed_every_few_minutes(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T3, 1)
    host.live(meters.SHOW_SECONDS - 1)
    assert not meter.count("i-1")
    host.live(1)
    assert meter.count("i-1")
    assert not meter.count("i-1")


def test_limits_are_set_at_once_and_only_when_they_change(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T3, 1)
    assert host.limits == [100]
    host.live(5, cpu_minutes=1 / 60)
    meter.count("i-1")
    assert host.limits == [100]
    host.live(3600)
    meter.count("i-1")
    assert host.limits == [100, None]
    host.live(5, cpu_minutes=6)
    meter.count("i-1")
    assert host.limits[2:] == [pytest.approx(700, abs=5)]


def test_a_mode_holds_at_once(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T3, 1)
    host.live(60, cpu_minutes=1)
    owing = meter.watch("i-1", replace(T3, unlimited=True), 1)
    assert owing == Balance(surplus=800, spent=1_000)
    assert host.limits == [100, None]
    assert meter.watch("i-1", T3, 1) == Balance(spent=1_000, charged=800)
    assert host.limits == [100, None, 100]


def test_a_limit_that_was_refused_is_tried_again(host: Host, meter: Meter) -> None:
    host.refusal = "no cgroups"
    meter.watch("i-1", T3, 1)
    meter.count("i-1")
    assert host.limits == [100, 100]
    host.refusal = ""
    meter.count("i-1")
    meter.count("i-1")
    assert host.limits == [100, 100, 100]


def test_a_stop_and_a_start(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T2, 1)
    host.live(3600, cpu_minutes=1)
    meter.count("i-1")
    host.process = None
    host.live(5)
    assert not meter.count("i-1")
    assert meter.watch("i-1", T2, 2) == Balance(credits=35_000, spent=1_000)  # it is just ending
    assert meter.rest("i-1", T2) == Balance(spent=1_000)
    assert meter.rest("i-1", T2) == Balance(spent=1_000)
    host.process, host.cpu_time = "8", 0
    assert meter.watch("i-1", T2, 2).credits >= 30_000


def test_what_was_saved_on_another_host_counts_once(host: Host, meter: Meter) -> None:
    moved = replace(T3, saved=5_000)
    assert meter.watch("i-1", moved, 3) == Balance(credits=5_000)
    host.process = None
    meter.rest("i-1", moved)
    host.process, host.cpu_time = "8", 0
    assert meter.watch("i-1", moved, 4).credits == 5_000
    assert meter.watch("i-2", replace(T2, saved=5_000), 1).credits == 30_000  # T2 saves nothing over a stop


def test_a_new_process_is_limited_anew(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T3, 1)
    host.process, host.cpu_time = "8", 0
    meter.watch("i-1", T3, 2)
    assert host.limits == [100, 100]


def test_time_before_new_terms_is_counted_by_the_old_ones(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T3, 1)
    host.live(3600)
    assert meter.watch("i-1", replace(T3, per_hour=24_000), 1) == Balance(credits=12_000)


def test_a_machine_that_stays_off_is_not_written_again(host: Host, meter: Meter, tmp_path: Path) -> None:
    meter.watch("i-1", T3, 1)
    host.process = None
    meter.rest("i-1", T3)
    written = (tmp_path / "i-1.json").stat()
    meter.rest("i-1", T3)
    assert (tmp_path / "i-1.json").stat() == written


def test_what_is_saved_survives_a_stop(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T3, 1)
    host.live(3600)
    meter.count("i-1")
    host.process = None
    assert meter.rest("i-1", T3) == Balance(credits=12_000)
    assert meter.rest("i-1", replace(T3, most=5_000)) == Balance(credits=5_000)  # another type


def test_a_new_agent_counts_what_the_old_one_missed(host: Host, tmp_path: Path) -> None:
    old = Meter(host, tmp_path, now=host.now)
    old.watch("i-1", T3, 1)
    host.live(3600, cpu_minutes=1)
    old.close()
    saved = AccountFiles(tmp_path).load("i-1")
    assert saved is not None
    assert saved.ledger.spent == CREDIT
    host.live(3600, cpu_minutes=1)
    new = Meter(host, tmp_path, now=host.now)
    assert new.watch("i-1", T3, 1) == Balance(credits=22_000, spent=2_000)
    assert host.limits[-1] is None
    new.close()


def test_a_killed_agent_loses_nothing_of_what_is_still_running(host: Host, tmp_path: Path) -> None:
    old = Meter(host, tmp_path, now=host.now)
    old.watch("i-1", T3, 1)
    host.live(3600, cpu_minutes=1)
    old.count("i-1")
    host.live(30, cpu_minutes=0.5)
    old.count("i-1")
    new = Meter(host, tmp_path, now=host.now)
    assert new.watch("i-1", T3, 1) == Balance(credits=10_600, spent=1_500)
    new.close()
    old.close()


def test_accounts_are_saved_every_minute(host: Host, meter: Meter, tmp_path: Path) -> None:
    meter.watch("i-1", T3, 1)
    host.live(meters.SAVE_SECONDS - 1)
    meter.count("i-1")
    saved = AccountFiles(tmp_path).load("i-1")
    assert saved is not None
    assert saved.ledger.earned == 0
    host.live(1)
    meter.count("i-1")
    saved = AccountFiles(tmp_path).load("i-1")
    assert saved is not None
    assert saved.ledger.earned == CREDIT // 5


def test_a_full_disk_stops_nothing(host: Host, meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(AccountFiles, "save", full)
        meter.watch("i-1", T3, 1)
        host.live(3600)
        assert meter.count("i-1")
    host.live(60)
    meter.count("i-1")
    saved = AccountFiles(tmp_path).load("i-1")
    assert saved is not None
    assert saved.ledger.earned > 12 * CREDIT


def test_who_is_forgotten_is_free(host: Host, meter: Meter) -> None:
    meter.watch("i-1", T3, 1)
    assert meter.present() == {"i-1"}
    meter.forget("i-1")
    assert host.limits == [100, None]
    assert meter.present() == frozenset()
    assert not meter.count("i-1")
    meter.forget("i-1")
    assert host.limits == [100, None]


def test_what_a_machine_owes_is_charged_when_it_is_forgotten(host: Host, meter: Meter, tmp_path: Path) -> None:
    meter.watch("i-1", replace(T3, unlimited=True), 1)
    host.live(60, cpu_minutes=2)
    meter.count("i-1")
    owed = meter.balance("i-1")
    assert owed is not None
    assert (owed.surplus, owed.charged) == (1800, 0)
    last = meter.forget("i-1")
    assert (last.surplus, last.charged) == (0, 1800)
    assert last.made == owed.made == host.now().unix - 60
    assert meter.forget("i-1") == Balance()


def test_what_a_machine_that_rests_owed_is_known_when_it_is_forgotten(host: Host, meter: Meter) -> None:
    terms = replace(T3, unlimited=True)
    meter.watch("i-1", terms, 1)
    host.live(60, cpu_minutes=2)
    meter.count("i-1")
    host.process = None
    assert meter.rest("i-1", terms).charged == 1800
    assert meter.forget("i-1").charged == 1800


def test_the_thread_counts_and_calls_back(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault with one machine does not end it."""
    monkeypatch.setattr(meters, "COUNT_SECONDS", 0.001)
    monkeypatch.setattr(meters, "SHOW_SECONDS", 0.0)
    heard, broken = threading.Event(), threading.Event()
    meter = Meter(host, tmp_path, now=host.now)

    def read(machine_id: str) -> tuple[str, int, int] | None:
        if threading.current_thread().name == "cpu-credits" and not broken.is_set():
            broken.set()
            raise RuntimeError("a fault")
        return Host.processor_time(host, machine_id)

    host.processor_time = read  # type: ignore[method-assign]  # to fail once
    meter.subscribe(lambda _machine_id: heard.set())
    meter.watch("i-1", T3, 1)
    assert heard.wait(60)
    assert broken.is_set()
    meter.close()
