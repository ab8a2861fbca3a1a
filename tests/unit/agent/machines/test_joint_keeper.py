"""Joint limits of guests are divided again as libvirt's counters show what their volumes do."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread

import libvirt
import pytest

from stead_agent.disks.disk_sources import FileSource
from stead_agent.machines.domain_xml import serial_of
from stead_agent.machines.interface import Disk, JointLimit, MachineSpec, Saved, instance_store_id
from stead_agent.machines.joint_accounts import Account, JointAccounts
from stead_agent.machines.joint_keeper import RARELY_SECONDS, JointKeeper

GUEST = "i-0123456789abcdef0"
ONE, TWO = (Disk(f"vol-{n:017x}", FileSource(Path(f"/v/{n}")), "qcow2") for n in range(2))
STORE = Disk(instance_store_id(GUEST, 0), FileSource(Path("/v/store")), "qcow2")
JOINT = JointLimit(1000, 1000, 500, 500)
BURST = JointLimit(100, 600, 500, 500, saved=Saved(bytes=500))


@dataclass
class Domain:
    """A running domain as libvirt shows it."""

    number: int = 1
    limits: dict[str, tuple[int, int]] = field(default_factory=dict)  # bytes and operations by disk
    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)  # of disks whose target has another name
    set_count: int = 0
    is_busy: bool = False
    is_active: bool = True

    def name(self):
        return GUEST

    def isActive(self):  # noqa: N802 - libvirt's name
        return self.is_active

    def ID(self):  # noqa: N802 - libvirt's name
        return self.number

    def XMLDesc(self, flags):  # noqa: N802 - libvirt's name
        assert flags == 0
        return f"<domain><devices>{''.join(map(self._disk, self.limits))}</devices></domain>"

    def target(self, disk_id):
        return self.targets.get(disk_id, disk_id)

    def _disk(self, disk_id):
        bytes_, operations = self.limits[disk_id]
        tune = f"<total_bytes_sec>{bytes_}</total_bytes_sec><total_iops_sec>{operations}</total_iops_sec>"
        serial = f"<serial>{serial_of(disk_id)}</serial>"
        return f"<disk><target dev='{self.target(disk_id)}'/>{serial}<iotune>{tune}</iotune></disk>"

    def setBlockIoTune(self, target, parameters, flags):  # noqa: N802 - libvirt's name
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE
        self.limits[target] = (parameters["total_bytes_sec"], parameters["total_iops_sec"])
        self.set_count += 1
        assert sum(bytes_ for bytes_, _ in self.limits.values()) <= 1000

    def stats(self):
        found = {"block.count": len(self.limits)}
        for number, disk_id in enumerate(self.limits):
            bytes_, operations = self.counters.get(disk_id, (0, 0))
            done = {"rd.bytes": bytes_ // 2, "wr.bytes": bytes_ - bytes_ // 2, "rd.reqs": operations, "wr.reqs": 0}
            found[f"block.{number}.name"] = self.target(disk_id)
            found |= {} if self.is_busy else {f"block.{number}.{name}": value for name, value in done.items()}
        return found


@dataclass
class Host:
    """One guest, the agent's keeper, and time that the test lets pass; no thread runs."""

    folder: Path
    keeper: JointKeeper = None
    domain: Domain = field(default_factory=Domain)
    time: float = 1000.0

    def new_agent(self):
        self.keeper = JointKeeper(lambda: self, self.folder, now=lambda: self.time)
        self.keeper._closed = True  # no thread

    def lookupByName(self, name):  # noqa: N802 - libvirt's name
        assert name == GUEST
        return self.domain

    def domainListGetStats(self, domains, what, flags):  # noqa: N802 - libvirt's name
        assert (what, flags) == (
            libvirt.VIR_DOMAIN_STATS_BLOCK,
            libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
        )
        return [(domain, domain.stats()) for domain in domains]

    def update(self, *disks, joint=JOINT):
        """Have these disks plugged in beside those that are being detached."""
        spec = MachineSpec(GUEST, 1, 1 << 30, disks, (), joint=joint)
        with self.keeper.arranged(spec, self.domain.XMLDesc(0)) as arranged:
            names = {self.domain.target(disk_id): disk_id for disk_id in self.domain.limits}
            self.domain.limits |= {
                names[limit.target]: (limit.total_bytes_sec, limit.total_iops_sec) for limit in arranged.limits
            }
            self.domain.limits |= {disk.id: (disk.throughput, disk.iops) for disk in arranged.spec.disks}
        return arranged.spec

    def fails(self, *disks):
        """Begin to do the same, but for one disk wrongly, and fail."""
        spec = MachineSpec(GUEST, 1, 1 << 30, disks, (), joint=JOINT)
        with self.keeper.arranged(spec, self.domain.XMLDesc(0)):
            self.domain.limits[disks[0].id] = (7, 7)
            raise OSError("no more")

    def passes(self, seconds, **done):
        """Let time pass in which volumes did so many bytes, and look."""
        for name, bytes_ in done.items():
            disk_id = {"one": ONE, "two": TWO}[name].id
            before = self.domain.counters.get(disk_id, (0, 0))
            self.domain.counters[disk_id] = (before[0] + bytes_, before[1] + 1)
        self.time += seconds
        self.keeper.look()

    def bytes(self, disk):
        return self.domain.limits[disk.id][0]


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    made.new_agent()
    return made


def test_what_one_volume_leaves_another_has_a_second_later(host):
    host.update(ONE, TWO)
    assert (host.bytes(ONE), host.bytes(TWO)) == (500, 500)
    host.passes(0)
    host.passes(1, one=0, two=500)
    assert (host.bytes(ONE), host.bytes(TWO)) == (20, 980)
    count = host.domain.set_count
    host.passes(1, two=980)
    assert host.domain.set_count == count
    host.passes(1, one=20, two=980)
    assert (host.bytes(ONE), host.bytes(TWO)) == (500, 500)


def test_local_disks_are_no_volumes(host):
    spec = host.update(ONE, STORE)
    assert [disk.throughput for disk in spec.disks] == [1000, 0]
    host.passes(0)
    assert host.keeper._guests[GUEST].due == float("inf")


def test_a_volume_that_is_being_detached_keeps_a_share_and_no_more(host):
    host.update(ONE, TWO)
    host.update(ONE)
    assert host.bytes(ONE) + host.bytes(TWO) <= 1000
    del host.domain.limits[TWO.id]
    host.update(ONE)
    assert host.bytes(ONE) == 1000
    host.update(TWO)
    assert (host.bytes(ONE), host.bytes(TWO)) == (20, 980)


def test_a_volume_in_the_place_of_another_is_known_by_its_own_name(host):
    host.domain.targets = {ONE.id: "vdb", TWO.id: "vdb"}
    host.update(ONE, joint=BURST)
    assert host.keeper._guests[GUEST].due == host.time
    host.passes(0)
    assert host.keeper._guests[GUEST].targets == {"vdb": ONE.id}
    del host.domain.limits[ONE.id]
    host.update(TWO, joint=BURST)
    assert host.keeper._guests[GUEST].due == host.time + 1
    host.passes(1)
    assert host.keeper._guests[GUEST].targets == {"vdb": TWO.id}


def test_own_limits_within_the_joint_one_are_exact_and_follow_a_change(host):
    slow = replace(ONE, throughput=400, iops=200)
    host.update(slow, replace(TWO, throughput=600, iops=300))
    assert host.domain.limits == {ONE.id: (400, 200), TWO.id: (600, 300)}
    assert host.keeper._guests[GUEST].due == float("inf")
    host.update(slow, replace(TWO, throughput=900, iops=300))
    assert host.bytes(ONE) + host.bytes(TWO) <= 1000
    assert host.keeper._guests[GUEST].due < float("inf")


def test_a_guest_that_spends_what_it_saved_is_slowed_down_in_time(host):
    host.update(ONE, joint=BURST)
    assert host.bytes(ONE) == 600
    host.passes(0)
    while host.bytes(ONE) > 150:
        began = host.time
        host.passes(host.keeper._guests[GUEST].due - host.time, one=0)
        passed = host.time - began
        assert 0 < passed <= RARELY_SECONDS
        host.passes(0, one=int(passed * host.bytes(ONE)))
        host.time += 1e-3
        assert host.time < 4000
    assert host.keeper.saved(GUEST).bytes <= 1


def test_a_new_agent_counts_on_from_the_last_account(host, monkeypatch):
    monkeypatch.setattr("time.time", lambda: host.time)
    host.update(ONE, joint=BURST)
    host.passes(0)
    host.passes(30, one=30 * 600)
    host.keeper.close()
    before = JointAccounts(host.folder).load(GUEST)
    assert before.bytes == pytest.approx(0.5 - 30 * 500 / (500 * 1800))
    host.new_agent()
    host.update(ONE, joint=BURST)
    host.passes(10, one=10 * 600)
    host.keeper.close()
    assert JointAccounts(host.folder).load(GUEST).bytes == pytest.approx(before.bytes - 10 * 500 / (500 * 1800))


def test_an_idle_life_off_saves_and_the_counters_of_the_next_process_begin_anew(host, monkeypatch):
    monkeypatch.setattr("time.time", lambda: host.time)
    host.update(ONE, joint=BURST)
    host.passes(0, one=9000)
    saved = host.keeper.rest(GUEST)
    assert saved == Saved(500, 1000)
    assert host.keeper.saved(GUEST) is None
    host.time += 900
    host.domain = Domain(number=2, counters={ONE.id: (50, 1)})
    host.update(ONE, joint=BURST)
    host.passes(1)
    assert host.keeper.saved(GUEST).bytes == 600


def test_a_guest_that_libvirt_is_busy_with_is_looked_at_soon_again(host):
    host.update(ONE, TWO)
    host.domain.is_busy = True
    host.passes(0)
    assert 0 < host.keeper._guests[GUEST].due - host.time < 1
    assert host.keeper._guests[GUEST].account.number == -1


def test_a_guest_that_has_ended_is_looked_at_no_more(host):
    host.update(ONE, TWO)
    host.domain.is_busy, host.domain.is_active = True, False
    host.passes(0)
    assert host.keeper.saved(GUEST) is None
    assert host.keeper.rest(GUEST) == Saved()


def test_nobody_waits_for_a_start_to_learn_what_a_machine_has_saved(host):
    with host.keeper.arranged(MachineSpec(GUEST, 1, 1 << 30, (ONE,), (), joint=BURST)):
        others = Thread(target=lambda: found.append(host.keeper.rest(GUEST)), daemon=True)
        found = []
        others.start()
        others.join(60)
        assert found == [BURST.saved]
    assert host.keeper.saved(GUEST) == BURST.saved


def test_a_failed_change_is_mended_by_the_next_look(host):
    host.update(ONE, TWO)
    host.passes(0)
    with pytest.raises(OSError, match="no more"):
        host.fails(ONE, TWO)
    host.passes(1)
    assert host.bytes(ONE) == 500


def test_nothing_is_left_of_a_guest_without_a_joint_limit(host):
    host.update(ONE, joint=BURST)
    assert list(host.folder.iterdir())
    spec = host.update(ONE, joint=None)
    assert spec.disks == (ONE,)
    assert not list(host.folder.iterdir())
    assert host.keeper.rest(GUEST) is None


def test_an_account_that_cannot_be_read_counts_as_none(host):
    (host.folder / f"{GUEST}.json").write_text("{")
    assert JointAccounts(host.folder).load(GUEST) is None
    JointAccounts(host.folder).save(GUEST, Account(0.5, 1.0, 7.0, 3, {ONE.id: (1, 2)}))
    assert JointAccounts(host.folder).load(GUEST) == Account(0.5, 1.0, 7.0, 3, {ONE.id: (1, 2)})
