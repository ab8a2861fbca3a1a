"""Whose disks and agents are looked at, how often, and what becomes of the answers: with libvirt played by the test."""

import threading
import time
from collections.abc import Callable
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from stead_agent.machines import health, waiting
from stead_agent.machines.disk_progress import ASK_SECONDS, STALLED_SECONDS
from stead_agent.machines.health import HUNG_SECONDS, MISSED_PINGS, PING_SECONDS, GuestHealth
from stead_agent.machines.interface import MachineStatus, Power
from tests.support.waiting import wait_for

GUEST, FOREIGN = "i-0123456789abcdef0", "i-0fffffffffffffff0"
VOLUME, OTHER = "vol-0123456789abcdef0", "vol-0123456789abcdef1"
ERROR = libvirt.VIR_DOMAIN_EVENT_IO_ERROR_REPORT


class Domain:
    """A running domain with two disks of volumes and one of another kind."""

    def __init__(self, name: str = GUEST) -> None:
        self._name = name
        self.number = 1
        self.counts: dict[str, int | None] = {"vda": 10, "vdb": 20, "vdc": 30}
        self.serials = {"vda": VOLUME.replace("-", "", 1), "vdb": OTHER.replace("-", "", 1), "vdc": "AWS123"}
        self.agent = "disconnected"
        self.described = 0
        self.control = [libvirt.VIR_DOMAIN_CONTROL_OK, 0, 0]
        self.state = libvirt.VIR_DOMAIN_RUNNING

    def controlInfo(self) -> list[int]:  # noqa: N802 - libvirt's
        return self.control

    def name(self) -> str:
        return self._name

    def ID(self) -> int:  # noqa: N802 - libvirt's
        return self.number

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - libvirt's
        self.described += 1
        disks = "".join(
            f"<disk><target dev='{target}'/><serial>{serial}</serial><alias name='disk-{target}'/></disk>"
            for target, serial in self.serials.items()
        )
        channel = f"<channel><target name='org.qemu.guest_agent.0' state='{self.agent}'/></channel>"
        return f"<domain><devices>{disks}{channel}</devices></domain>"

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = {"state.state": self.state, "block.count": len(self.counts)}
        for number, (target, count) in enumerate(self.counts.items()):
            found[f"block.{number}.name"] = target
            if count is not None:
                found |= {f"block.{number}.{kind}.reqs": each for kind, each in (("rd", count), ("wr", 1), ("fl", 0))}
        return found


class Bench:
    """The health of some domains, in stepped time; `waiting` devices have a request that is never done."""

    def __init__(self) -> None:
        self.guest = Domain()
        self.domains = [self.guest, Domain(FOREIGN)]
        self.time = 1000.0
        self.waiting: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.pinged: list[str] = []
        self.silent: set[str] = set()
        self.code = libvirt.VIR_ERR_AGENT_UNRESPONSIVE  # of libvirt's error when one is silent
        self.heard: list[str] = []
        self.health = GuestHealth(lambda: self, lambda name: name != FOREIGN, self.heard.append, now=lambda: self.time)

    def getAllDomainStats(self, kinds: int, flags: int) -> list[tuple[Domain, dict[str, Any]]]:  # noqa: N802 - libvirt's
        assert kinds == libvirt.VIR_DOMAIN_STATS_BLOCK | libvirt.VIR_DOMAIN_STATS_STATE
        assert flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        assert flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
        return [(domain, domain.stats()) for domain in self.domains]

    def execute(self, domain: Domain, command: str, arguments: dict[str, Any]) -> Any:
        assert domain.name() == GUEST
        device = arguments["path"].split("/")[3]
        if command == "qom-get":
            return 2
        self.asked.append((device, arguments["queue"]))
        return {"inuse": int(device in self.waiting and arguments["queue"] == 1), "used-idx": 5}

    def ping(self, domain: Domain, command: str, timeout: int, flags: int) -> str:
        assert ("guest-ping" in command, timeout, flags) == (True, 5, 0)
        self.pinged.append(domain.name())
        if domain.name() in self.silent:
            error = libvirt.libvirtError("no answer")
            error.err = (self.code,)
            raise error
        return '{"return":{}}'

    def look(self, seconds: float = 0.0) -> MachineStatus:
        self.time += seconds
        self.health.look()
        return self.status()

    def status(self) -> MachineStatus:
        seen = MachineStatus(GUEST, Power.RUNNING, 1, 0, volume_ids=frozenset({VOLUME, OTHER}))
        return self.health.complete(seen, self.guest.number)

    def fail(self, device: str, action: int = ERROR) -> None:
        (listener,) = self.health.listeners().values()
        listener(None, self.domains[0], "/path", device, action, "", None)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(health, "execute", made.execute)
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", made.ping)
    return made


def test_requests_that_wait_stall_their_volume_until_one_is_done(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.waiting = {"disk-vdb"}
    assert bench.look().stalled == frozenset(), "its counters have just been seen for the first time"
    assert bench.look(STALLED_SECONDS - 1).stalled == frozenset()
    assert bench.heard == []
    assert bench.look(1).stalled == {OTHER}
    assert bench.heard == [GUEST]
    assert bench.look(1).stalled == {OTHER}
    assert bench.heard == [GUEST]
    bench.guest.counts["vdb"] = 21
    assert bench.look(1).stalled == frozenset()
    assert bench.heard == [GUEST, GUEST]
    assert [each.message for each in caplog.records] == ["disk_stalled", "disk_goes_on"]


def test_only_of_quiet_volumes_of_ours_is_qemu_asked(bench: Bench) -> None:
    bench.look()
    assert bench.asked == [("disk-vda", 0), ("disk-vda", 1), ("disk-vdb", 0), ("disk-vdb", 1)]
    bench.asked.clear()
    bench.look(ASK_SECONDS - 1)
    assert bench.asked == []
    bench.guest.counts["vda"] = 11
    bench.look(1)
    assert bench.asked == [("disk-vdb", 0), ("disk-vdb", 1)]
    assert bench.domains[1].described == 0


def test_failed_requests_stall_their_volume_unless_they_pause_the_guest(bench: Bench) -> None:
    bench.look()
    bench.fail("disk-vda", libvirt.VIR_DOMAIN_EVENT_IO_ERROR_PAUSE)
    assert bench.look(1).stalled == frozenset()
    bench.fail("disk-vda")
    bench.fail("disk-vdc")
    assert bench.look(1).stalled == {VOLUME}
    bench.guest.counts["vda"] = 11
    assert bench.look(1).stalled == frozenset()


def test_what_is_known_is_of_one_start_and_of_disks_that_are_there(bench: Bench) -> None:
    guest = bench.guest
    bench.look()
    bench.fail("disk-vda")
    bench.fail("disk-vdb")
    assert bench.look(1).stalled == {VOLUME, OTHER}
    detached = MachineStatus(GUEST, Power.RUNNING, 1, 0, volume_ids=frozenset({OTHER}))
    assert bench.health.complete(detached, guest.number).stalled == {OTHER}
    del guest.counts["vdb"], guest.serials["vdb"]
    assert bench.look(1).stalled == {VOLUME}
    guest.number = 2
    assert bench.status().stalled == frozenset()
    assert bench.look(1).stalled == frozenset()
    bench.fail("disk-vda")
    assert bench.look(1).stalled == {VOLUME}
    bench.domains = []
    bench.look(1)
    assert bench.status().stalled == frozenset(), "it has ended"
    assert not bench.health._failures


def test_a_definition_is_read_when_it_may_have_changed(bench: Bench) -> None:
    guest = bench.guest
    bench.look()
    read = guest.described
    bench.look(1)
    assert guest.described == read
    guest.counts["vdd"], guest.serials["vdd"] = 1, "vol0123456789abcdef2"
    bench.look(1)
    assert guest.described == read + 1


def test_while_libvirt_is_busy_with_a_guest_what_was_known_still_holds(bench: Bench) -> None:
    bench.look()
    bench.fail("disk-vda")
    assert bench.look(1).stalled == {VOLUME}
    bench.guest.counts["vdb"] = None
    assert bench.look(1).stalled == {VOLUME}
    bench.guest.counts = {}
    assert bench.look(1).stalled == {VOLUME}


def test_an_agent_that_misses_several_questions_is_silent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    bench.guest.agent = "connected"
    assert bench.look().agent_silent_since == 0
    assert bench.pinged == [GUEST]
    bench.look(PING_SECONDS - 1)
    assert bench.pinged == [GUEST]
    bench.silent = {GUEST}
    now[0] = 6000.0
    for code in (libvirt.VIR_ERR_AGENT_COMMAND_TIMEOUT, libvirt.VIR_ERR_AGENT_UNRESPONSIVE):  # as libvirt says it
        bench.code = code
        assert bench.look(PING_SECONDS).agent_silent_since == 0
    assert bench.look(PING_SECONDS).agent_silent_since == 5000
    assert bench.heard == [GUEST]
    bench.silent = set()
    assert bench.look(PING_SECONDS).agent_silent_since == 0
    assert bench.heard == [GUEST, GUEST]


def test_one_that_is_not_connected_is_not_asked_and_has_no_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = bench.guest
    for _ in range(MISSED_PINGS):
        assert bench.look(PING_SECONDS).agent_silent_since == 0
    assert bench.pinged == []
    guest.agent = "connected"
    bench.silent = {GUEST}

    def leave(*arguments: Any) -> str:
        guest.agent = "disconnected"
        return bench.ping(*arguments)

    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", leave)
    for _ in range(MISSED_PINGS):
        guest.agent = "connected"
        assert bench.look(PING_SECONDS).agent_silent_since == 0, "it ended while it was asked"
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", bench.ping)
    guest.agent, bench.code = "connected", libvirt.VIR_ERR_OPERATION_INVALID
    for _ in range(MISSED_PINGS):
        assert bench.look(PING_SECONDS).agent_silent_since == 0, "libvirt has not asked it"


def test_guests_that_do_not_answer_take_only_so_much_of_a_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.domains = [Domain(f"i-0123456789abcde{number:02x}") for number in range(6)]
    for domain in bench.domains:
        domain.agent = "connected"

    def wait(take: Callable[..., str]) -> Callable[..., str]:
        def late(*arguments: Any) -> str:
            bench.time += 5
            return take(*arguments)

        return late

    monkeypatch.setattr(health, "execute", lambda *_: 0)
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", wait(bench.ping))
    bench.silent = {domain.name() for domain in bench.domains}
    names = [domain.name() for domain in bench.domains]
    for count in (2, 4, 6):
        bench.look()
        assert bench.pinged == names[:count]
    bench.domains.reverse()
    bench.look(PING_SECONDS)
    assert bench.pinged[6:] == names[:2], "who has waited longest comes first"


def waits(bench: Bench, seconds: float, state: int = libvirt.VIR_DOMAIN_CONTROL_OCCUPIED) -> MachineStatus:
    """Look when libvirt has waited so long for the guest's QEMU, and so skips it."""
    bench.guest.counts, bench.guest.control = {}, [state, 0, int(seconds * 1000)]
    return bench.look()


def test_a_qemu_that_does_not_answer_hangs_until_it_does(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    assert waits(bench, HUNG_SECONDS - 0.001).hung_since == 0
    assert bench.heard == []
    began = time.time() - HUNG_SECONDS
    assert began - 1 <= waits(bench, HUNG_SECONDS).hung_since <= time.time() - HUNG_SECONDS
    since = bench.status().hung_since
    assert waits(bench, HUNG_SECONDS + 100).hung_since == since
    assert bench.heard == [GUEST]
    assert waits(bench, 0, libvirt.VIR_DOMAIN_CONTROL_OK).hung_since == 0
    assert bench.heard == [GUEST, GUEST]
    assert [each.message for each in caplog.records] == ["qemu_hangs", "qemu_answers"]


def test_only_waiting_for_qemu_is_hanging(bench: Bench) -> None:
    assert waits(bench, HUNG_SECONDS, libvirt.VIR_DOMAIN_CONTROL_JOB).hung_since == 0
    bench.guest.control = [libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, 0, int(HUNG_SECONDS * 1000)]
    bench.guest.counts = {"vda": 1}
    assert bench.look().hung_since == 0, "it has answered this look"


def test_what_ended_does_not_hang_any_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(bench, HUNG_SECONDS).hung_since
    bench.health.forget_hung(GUEST)
    assert bench.status().hung_since == 0
    assert waits(bench, HUNG_SECONDS).hung_since
    bench.domains = []
    assert bench.look().hung_since == 0

    def gone() -> list[int]:
        raise libvirt.libvirtError("it has just ended")

    bench.domains = [bench.guest]
    monkeypatch.setattr(bench.guest, "controlInfo", gone)
    assert bench.look().hung_since == 0


def test_the_agent_of_a_guest_whose_qemu_does_not_answer_is_not_asked(bench: Bench) -> None:
    bench.guest.agent = "connected"
    bench.look()
    assert bench.pinged == [GUEST]
    bench.time += PING_SECONDS
    waits(bench, 1)
    assert bench.pinged == [GUEST]
    bench.guest.counts = {"vda": 1}
    bench.look()
    assert bench.pinged == [GUEST, GUEST]


def test_one_hung_qemu_hinders_no_other_guest(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libvirt does not answer the question about all; then each guest's state says whose QEMU it waits for."""
    release = threading.Event()
    monkeypatch.setattr(bench, "getAllDomainStats", lambda *_: release.wait())
    monkeypatch.setattr(bench, "listAllDomains", lambda _flags: bench.domains, raising=False)
    monkeypatch.setattr(bench.health, "_asker", waiting.Asker(0.01))
    bench.guest.control = [libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, 0, int(HUNG_SECONDS * 1000)]
    for _ in range(4):
        assert bench.look().hung_since
    asking = [thread for thread in threading.enumerate() if thread.name == "asks-libvirt"]
    assert len(asking) == 2
    release.set()
    for thread in asking:
        thread.join()


@pytest.mark.parametrize("state", [libvirt.VIR_DOMAIN_SHUTDOWN, libvirt.VIR_DOMAIN_PAUSED])
def test_the_qemu_of_one_that_does_not_run_may_hang_as_well_but_its_disks_cannot(bench: Bench, state: int) -> None:
    bench.guest.state, bench.guest.agent, bench.waiting = state, "connected", {"disk-vda"}
    assert bench.look().stalled == bench.look(STALLED_SECONDS).stalled == frozenset()
    assert bench.pinged == []
    bench.guest.counts = {"vda": None}
    bench.guest.control = [libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, 0, int(HUNG_SECONDS * 1000)]
    assert bench.look().hung_since


def test_a_question_to_qemu_without_an_answer_says_nothing_of_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.waiting = {"disk-vda"}
    bench.look()
    monkeypatch.setattr(bench.health._asker, "ask", lambda question: question() if "Stats" in repr(question) else None)
    assert bench.look(STALLED_SECONDS - 1).stalled == frozenset()
    assert bench.look(1).stalled == {VOLUME}


def test_its_thread_goes_on_after_errors_and_ends_when_it_is_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.001)
    errors: list[Exception] = [RuntimeError("a fault"), libvirt.libvirtError("away")]
    looks: list[float] = []

    def look() -> None:
        looks.append(time.monotonic())
        if errors:
            raise errors.pop()

    monkeypatch.setattr(bench.health, "look", look)
    bench.health.close()  # before it has begun: nothing is waited for
    bench.health._closed.clear()
    bench.health.start()
    wait_for(lambda: len(looks) > 2, "it looks after both errors")
    bench.health.close()
    assert not bench.health._thread.is_alive()
    assert [each.message for each in caplog.records] == ["guests_not_looked_at", "look_failed"]


def test_whose_a_domain_is_is_asked_once_and_of_no_other_program(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(bench.health, "_is_ours", lambda name: not asked.append(name))
    bench.domains = [bench.guest, Domain("desktop")]
    for _ in range(2):
        bench.health.look()
    assert asked == [GUEST]
    assert bench.domains[1].described == 0
