"""Volumes on three hosts: whatever is asked and whenever hosts speak, no volume is writable from two places.

The hosts are models that do what an agent does with the states it is sent: a home serves one client at a time, and
none while a guest of its own has the volume; what must go goes when no guest has it. A guest that is stubborn keeps
what it should release.
"""

import contextlib
import copy
import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from stead_controller.db.session import Database
from stead_controller.db.tables import Host, HostResource, Instance, Snapshot, StoragePool, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import SteadError
from stead_controller.hosts import facts
from stead_controller.hosts.reports import apply_progress
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import host_records
from stead_controller.resources.storage import create_snapshots, snapshot_life, volume_life, volume_modifications
from stead_controller.resources.storage.create_snapshots import OfInstance, OfVolume
from stead_controller.resources.storage.volume_life import CreateRequest
from stead_controller.resources.storage.volume_modifications import ModifyRequest
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.databases import closed
from tests.support.rows import CLOUD, GIB, NOW

ZONE = "us-east-1a"
VOLUME, MACHINE = int(desired.KIND_VOLUME), int(desired.KIND_MACHINE)


@dataclass
class ModelHost:
    """What is on one host; `sent` is its outbox as it has read it, in part."""

    id: str
    sent: dict[tuple[int, str], tuple[int, bytes | None]] = field(default_factory=dict)
    disks: set[str] = field(default_factory=set)
    serves: dict[str, tuple[str, int]] = field(default_factory=dict)  # volume: client and generation
    proxies: dict[str, int] = field(default_factory=dict)  # volumes of other hosts, and their generation
    plugged: dict[str, dict[str, int]] = field(default_factory=dict)  # machine: volumes and their generation, 0 = own
    stubborn: set[str] = field(default_factory=set)  # machines whose guests release nothing

    def users(self, volume_id: str) -> list[str]:
        return [machine for machine, volumes in self.plugged.items() if volume_id in volumes]

    def writes(self, volume_id: str, hosts: "list[ModelHost]") -> int:
        """Count the guests of this host that can write to a volume now, at home or by this host's one way to it."""
        way = (self.id, self.proxies.get(volume_id, 0))
        served = any(each.serves.get(volume_id) == way for each in hosts)
        return sum(served or not self.plugged[machine][volume_id] for machine in self.users(volume_id))

    def work(self) -> list[pb.ResourceStatus]:
        """Do once what can be done, and say what became of it."""
        statuses = []
        for (kind, name), (revision, body) in sorted(self.sent.items(), key=lambda item: item[1][0]):
            message = desired.Resource.FromString(body) if body is not None else None
            if kind == VOLUME:
                condition = self._volume(name, message.volume if message else None)
                statuses.append(pb.ResourceStatus(kind=kind, id=name, revision=revision, condition=condition))
            elif kind == MACHINE:
                statuses.append(self._machine(name, revision, message.machine if message else None))
        return statuses

    def _volume(self, name, volume):
        if volume is None:
            if self.users(name):
                return pb.CONDITION_PENDING
            self.disks.discard(name)
            self.serves.pop(name, None)
            self.proxies.pop(name, None)
            return pb.CONDITION_ABSENT
        if volume.HasField("remote"):
            self.proxies[name] = volume.remote.generation
            return pb.CONDITION_READY
        self.disks.add(name)
        if not volume.HasField("export"):
            self.serves.pop(name, None)
            return pb.CONDITION_READY
        if self.users(name):
            return pb.CONDITION_PENDING
        self.serves[name] = (volume.export.client_host_id, volume.export.generation)
        return pb.CONDITION_READY

    def _machine(self, name, revision, machine):
        status = pb.ResourceStatus(kind=MACHINE, id=name, revision=revision, condition=pb.CONDITION_PENDING)
        if machine is None:
            self.plugged.pop(name, None)
            status.condition = pb.CONDITION_ABSENT
            return status
        status.machine.start_count = machine.start_count
        if machine.power == desired.POWER_STOPPED:
            self.plugged.pop(name, None)
            status.machine.power = pb.MACHINE_POWER_OFF
            status.condition = pb.CONDITION_READY
            return status
        status.machine.power = pb.MACHINE_POWER_RUNNING
        mine = self.plugged.setdefault(name, {})
        wanted = {disk.volume_id: self._generation(disk.volume_id) for disk in machine.disks}
        if None not in wanted.values():
            if name not in self.stubborn:
                for gone in mine.keys() - wanted.keys():
                    del mine[gone]
            mine.update(wanted)
            if mine.keys() == wanted.keys():
                status.condition = pb.CONDITION_READY
        status.machine.volume_ids.extend(sorted(mine))
        return status

    def _generation(self, volume_id):
        """Tell how a guest would reach a volume, None when it is not ready."""
        _, body = self.sent.get((VOLUME, volume_id), (0, None))
        if body is None:
            return None
        volume = desired.Resource.FromString(body).volume
        if volume.HasField("remote"):
            return volume.remote.generation
        return 0 if volume_id not in self.serves and volume_id in self.disks else None


class Cloud:
    """A database and three hosts."""

    def __init__(self, path, content):
        path.write_bytes(content)
        self.database = Database(f"sqlite:///{path}")
        self.world = self.run(rows.build_world)
        self.caller = self.world.one.caller
        others = [rows.host(hostname=f"box{number}") for number in (2, 3)]
        host_ids = [self.world.host_id, *(host.id for host in others)]

        def add(tx):
            tx.session.add_all(others)
            tx.session.flush()
            for host_id in host_ids:
                pool = {"name": "main", "backend": "directory", "is_default": True, "free": 0, "provisioned": 0}
                tx.session.add(StoragePool(host_id=host_id, total=1000 * GIB, **pool))
            found = []
            for number, host_id in enumerate(host_ids * 2):
                instance = rows.launch(tx, self.world, self.world.one, number=number, host_id=host_id)
                desired_state.refresh_instance(tx, instance.id)
                found.append(instance.id)
            return found

        self.instances = self.run(add)
        self.hosts = [ModelHost(host_id) for host_id in host_ids]
        self.delayed: list[tuple[str, list[pb.ResourceStatus]]] = []
        self.roots = self.run(lambda tx: list(tx.session.scalars(select(Volume.id))))
        self.volumes = [self.create() for _ in range(2)]

    def fork(self, path):
        """Return a cloud of its own, over a copy of the database, that goes on from here; this one is closed."""
        other = copy.copy(self)
        shared = {"database", "world", "caller"}
        vars(other).update(copy.deepcopy({name: value for name, value in vars(self).items() if name not in shared}))
        other.world = self.world.copy()
        other.database = Database(f"sqlite:///{path}")
        return other

    def run(self, function, *args, **kwargs):
        return self.database.run_blocking(lambda tx: function(tx, *args, **kwargs))

    def create(self):
        return self.run(
            volume_life.create, self.caller, CLOUD, CreateRequest(Repeatable("x", "", ""), zone=ZONE, size=1), NOW
        )

    def attempt(self, function, *args, **kwargs):
        """Ask for something that may be refused."""
        with contextlib.suppress(SteadError):  # as a user is refused, who goes on
            self.run(function, self.caller, *args, **kwargs)

    def read(self, host, choose=lambda _: True):
        """Let a host read its outbox."""
        query = select(HostResource.kind, HostResource.resource_id, HostResource.revision, HostResource.body)
        found = self.run(
            lambda tx: tx.session.execute(
                query.where(HostResource.host_id == host.id, HostResource.kind.in_((VOLUME, MACHINE)))
            ).all()
        )
        host.sent.update({(kind, name): (revision, body) for kind, name, revision, body in found if choose(name)})

    def report(self, host_id, statuses):
        self.run(apply_progress, [(host_id, statuses)], NOW)

    def check(self):
        free = select(Volume.id).where(Volume.state == "available")
        available = self.run(lambda tx: set(tx.session.scalars(free)))
        for volume_id in (*self.roots, *self.volumes):
            writers = sum(host.writes(volume_id, self.hosts) for host in self.hosts)
            most = 0 if volume_id in available else 1
            assert writers <= most, f"{volume_id} is writable from {writers} places"

    def act(self, host, *, delay=False):
        self.read(host)
        statuses = host.work()
        self.check()
        if delay:
            self.delayed.append((host.id, statuses))
        else:
            self.report(host.id, statuses)
        return statuses

    def settle(self):
        """Let all hosts do and say what they have to, until three rounds in a row were alike; some need twelve."""
        rounds = []
        while len(rounds) < 12 and (len(rounds) < 3 or rounds[-3] != rounds[-1] or rounds[-2] != rounds[-1]):
            rounds.append([(self.act(host), dict(host.sent)) for host in self.hosts])

    def step(self, rng):
        instance_id, volume_id = rng.choice(self.instances), rng.choice(self.volumes)
        host = rng.choice(self.hosts)
        match rng.randrange(17):
            case 0 | 1 | 2:
                device = f"/dev/sd{rng.choice('fghij')}"
                self.attempt(volume_attachments.attach, CLOUD, volume_id, instance_id, device, NOW)
            case 3 | 4:
                self.attempt(volume_attachments.detach, volume_id, force=rng.random() < 0.5)
            case 5:
                self.attempt(stop_instances, [instance_id], NOW)
            case 6:
                self.attempt(start_instances, CLOUD, [instance_id], NOW)
            case 7 if rng.random() < 0.2:
                self.attempt(terminate_instances, [instance_id], NOW)
            case 8 if rng.random() < 0.3:
                self.attempt(volume_life.delete, volume_id, NOW)
                self.volumes.append(self.create())
            case 9:
                now_on = self.run(lambda tx: tx.session.get_one(Instance, instance_id).host_id)
                for each in self.hosts:
                    each.stubborn ^= {instance_id} if each.id == now_on else each.stubborn & {instance_id}
            case 10 if self.delayed:
                self.report(*self.delayed.pop(rng.randrange(len(self.delayed))))
            case 11:
                self.act(host, delay=True)
            case 12:  # what starts then, starts elsewhere
                cordoned = update(Host).where(Host.id == host.id).values(schedulable=rng.random() < 0.5)
                self.run(lambda tx: tx.session.execute(cordoned) and None)
            case _:
                self.act(host)
        self.check()

    def end(self):
        """Let everything go that there is."""
        for host in self.hosts:
            host.stubborn.clear()
        self.delayed.clear()
        self.settle()
        self.attempt(terminate_instances, self.instances, NOW)
        self.settle()
        for volume_id in self.run(lambda tx: list(tx.session.scalars(select(Volume.id)))):
            self.attempt(volume_life.delete, volume_id, NOW)
        self.settle()

    def left(self):
        """List what is left of volumes anywhere."""
        found = [f"{host.id} has {name}" for host in self.hosts for name in (*host.disks, *host.serves, *host.proxies)]
        found += [f"{host.id} runs {name}" for host in self.hosts for name in host.plugged]
        volumes = self.run(lambda tx: list(tx.session.scalars(select(Volume))))
        found += [f"{each.id} is {each.state}, {each.attachment_state}" for each in volumes]
        pools = self.run(lambda tx: list(tx.session.scalars(select(StoragePool.provisioned))))
        # The root volumes of `rows.launch` were never taken from a pool.
        roots = 8 * GIB * 2
        return found + [f"{each} bytes are still promised" for each in pools if each != -roots]


_begun = {}


def begun(kind, path, content, begin=Cloud.settle):
    """Return a cloud of a class that has begun so: it is made once in a process, and copied for each test."""
    if (kind, begin) not in _begun:
        first = kind(path, content)
        begin(first)
        _begun[kind, begin] = closed(first.database), first
    content, first = _begun[kind, begin]
    path.write_bytes(content)
    return first.fork(path)


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts with two instances each, and two volumes that were never attached."""
    cloud = begun(Cloud, tmp_path / "stead.sqlite", empty_database_file)
    yield cloud
    cloud.database.close()


@pytest.mark.parametrize("seed", range(8))
def test_never_writable_from_two_places_and_nothing_leaks(cloud, seed):
    rng = random.Random(seed)
    for _ in range(100):
        cloud.step(rng)
    cloud.end()
    assert cloud.left() == []


def volume(cloud, volume_id):
    return cloud.run(lambda tx: tx.session.get(Volume, volume_id))


def give_up(cloud, host):
    """Let a host be down, and remove it as lost."""
    cloud.run(lambda tx: tx.session.execute(update(Host).where(Host.id == host.id).values(state="down")) and None)
    cloud.run(host_records.remove_host, CLOUD, host.id, NOW, lost=True)


def home_of(cloud, volume_id):
    return next(host for host in cloud.hosts if host.id == volume(cloud, volume_id).host_id)


@pytest.fixture
def elsewhere(cloud):
    """A volume of the first host that is attached to the second host's first instance."""
    volume_id = cloud.volumes[0]
    first, second = cloud.instances[:2]
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, first, "/dev/sdf", NOW)
    cloud.settle()
    cloud.run(volume_attachments.detach, cloud.caller, volume_id)
    cloud.settle()
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, second, "/dev/sdf", NOW)
    return volume_id


def test_the_home_serves_a_volume_to_the_host_of_its_instance(cloud, elsewhere):
    first, second, _ = cloud.hosts
    row = volume(cloud, elsewhere)
    assert (row.host_id, row.attached_host_id, row.attachment_state) == (first.id, second.id, "attaching")
    cloud.settle()
    row = volume(cloud, elsewhere)
    assert first.serves[elsewhere] == (second.id, row.generation)
    assert second.plugged[cloud.instances[1]][elsewhere] == row.generation
    assert row.attachment_state == "attached"
    assert row.export_port is not None


def test_a_volume_is_free_when_the_other_host_released_it(cloud, elsewhere):
    cloud.settle()
    _, second, _ = cloud.hosts
    second.stubborn.add(cloud.instances[1])
    cloud.run(volume_attachments.detach, cloud.caller, elsewhere)
    cloud.settle()
    assert volume(cloud, elsewhere).state == "in-use"
    second.stubborn.clear()
    cloud.settle()
    row = volume(cloud, elsewhere)
    assert (row.state, row.export_port, row.attached_host_id) == ("available", None, None)
    assert cloud.hosts[0].serves == {}


def test_force_needs_the_homes_word_alone(cloud, elsewhere):
    cloud.settle()
    first, second, third = cloud.hosts
    cloud.run(volume_attachments.detach, cloud.caller, elsewhere, force=True)
    assert volume(cloud, elsewhere).state == "in-use"
    sent = cloud.run(lambda tx: tx.session.get_one(HostResource, (second.id, VOLUME, elsewhere)))
    assert (sent.body, sent.force) == (None, True)
    cloud.act(first)  # the second host is away
    assert volume(cloud, elsewhere).state == "available"
    with pytest.raises(SteadError):  # its old guest may still have it
        cloud.run(volume_attachments.attach, cloud.caller, CLOUD, elsewhere, cloud.instances[4], "/dev/sdf", NOW)
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, elsewhere, cloud.instances[2], "/dev/sdf", NOW)
    for _ in range(3):
        cloud.act(first)
        cloud.act(third)
    assert volume(cloud, elsewhere).attachment_state == "attached"
    assert second.users(elsewhere)
    assert second.writes(elsewhere, cloud.hosts) == 0
    cloud.settle()
    assert not second.users(elsewhere)


def test_a_remote_volume_ends_with_its_instance(cloud, elsewhere):
    cloud.settle()
    instance_id = cloud.instances[1]
    cloud.run(lambda tx: tx.session.execute(update(Volume).values(delete_on_termination=True)))
    cloud.run(terminate_instances, cloud.caller, [instance_id], NOW)
    cloud.settle()
    assert volume(cloud, elsewhere) is None
    assert cloud.run(lambda tx: tx.session.get(Instance, instance_id)).state == "terminated"


def test_the_home_moves(cloud, elsewhere):
    cloud.settle()
    first, second, _ = cloud.hosts
    hello = pb.Hello(facts=pb.HostFacts(underlay_address="10.9.8.7", cpus=8, memory=8 * GIB))
    cloud.run(facts.take_facts, [(first.id, hello)], CLOUD, NOW)
    cloud.read(second)
    _, body = second.sent[VOLUME, elsewhere]
    assert desired.Resource.FromString(body).volume.remote.address == "10.9.8.7"
    assert cloud.run(lambda tx: tx.session.get(Host, first.id)).underlay_address == "10.9.8.7"


def test_the_host_of_the_instance_is_given_up(cloud, elsewhere):
    cloud.settle()
    first, second, _ = cloud.hosts
    give_up(cloud, second)
    assert volume(cloud, elsewhere).attachment_state == "detaching"
    cloud.act(first)
    row = volume(cloud, elsewhere)
    assert (row.state, row.host_id) == ("available", first.id)
    assert first.serves == {}


def test_the_home_is_given_up(cloud, elsewhere):
    cloud.settle()
    first, second, third = cloud.hosts
    give_up(cloud, first)
    assert volume(cloud, elsewhere) is None
    for _ in range(3):
        cloud.act(second)
        cloud.act(third)
    assert not second.users(elsewhere)
    assert cloud.run(lambda tx: tx.session.get(Instance, cloud.instances[1])).state == "running"


def test_a_volume_that_is_served_has_grown_when_the_other_host_says_so(cloud, elsewhere):
    cloud.settle()

    def state():
        (known,) = cloud.run(volume_modifications.describe, cloud.caller, Selection((elsewhere,)))
        return known.state

    first, second, _third = cloud.hosts
    cloud.run(volume_modifications.modify, cloud.caller, CLOUD, ModifyRequest(elsewhere, size=2), NOW)
    assert state() == "modifying"
    for host, size, expected in ((first, 2, "modifying"), (second, 1, "optimizing"), (second, 2, "completed")):
        cloud.read(host)
        revision, _ = host.sent[VOLUME, elsewhere]
        sent = pb.VolumeStatus(size=size * GIB)
        ready = pb.CONDITION_READY
        status = pb.ResourceStatus(kind=VOLUME, id=elsewhere, revision=revision, condition=ready, volume=sent)
        cloud.report(host.id, [status])
        assert state() == expected


def snapshot_of(cloud, volume_id):
    made = cloud.run(create_snapshots.of_volume, cloud.caller, OfVolume(volume_id), NOW).snapshot.id
    return lambda: cloud.run(lambda tx: tx.session.get(Snapshot, made))


def test_a_pending_snapshot_goes_where_the_volume_can_be_read(cloud, elsewhere):
    first, second, third = cloud.hosts
    cloud.settle()
    snapshot = snapshot_of(cloud, elsewhere)
    assert snapshot().host_id == second.id
    cloud.run(volume_attachments.detach, cloud.caller, elsewhere)
    assert snapshot().host_id == second.id, "the host reads it before it releases the volume"
    cloud.run(volume_attachments.detach, cloud.caller, elsewhere, force=True)
    assert snapshot().host_id == first.id
    sent = select(HostResource.host_id, HostResource.body).where(HostResource.resource_id == snapshot().id)
    assert {host_id: body is not None for host_id, body in cloud.run(lambda tx: tx.session.execute(sent).all())} == {
        first.id: True,
        second.id: False,
    }
    cloud.settle()
    cloud.run(
        volume_attachments.attach, cloud.caller, CLOUD, elsewhere, cloud.instances[2], "/dev/sdf", NOW
    )  # fmt: skip
    assert (snapshot().host_id, snapshot().state) == (third.id, "pending")


def test_a_pending_snapshot_of_a_set_is_of_no_other_instant(cloud, elsewhere):
    cloud.settle()
    instance = cloud.instances[1]
    made = cloud.run(create_snapshots.of_instance, cloud.caller, OfInstance(instance), NOW)
    states = {one.snapshot.volume_id: one.snapshot.id for one in made}
    cloud.run(volume_attachments.detach, cloud.caller, elsewhere, force=True)
    found = cloud.run(lambda tx: tx.session.get(Snapshot, states[elsewhere]))
    assert (found.state, found.state_message, found.host_id) == ("error", snapshot_life.MOVED, None)


@pytest.mark.parametrize(
    ("taken", "shown"),
    [
        (timedelta(seconds=3), timedelta(0)),
        (timedelta(minutes=4), timedelta(minutes=4)),
        (timedelta(days=20000), timedelta(minutes=5)),
        (-timedelta(days=1), timedelta(0)),
    ],
    ids=["clocks differ a little", "an instant was lost", "a clock that is wrong", "a clock that is behind"],
)
def test_a_snapshot_is_shown_as_begun_at_its_instant(cloud, elsewhere, taken, shown):
    cloud.settle()
    snapshot = snapshot_of(cloud, elsewhere)
    sent = pb.SnapshotStatus(taken_at=int((NOW + taken).timestamp() * 1000))
    kind = int(desired.KIND_SNAPSHOT)
    status = pb.ResourceStatus(kind=kind, id=snapshot().id, condition=pb.CONDITION_PENDING, snapshot=sent)
    cloud.run(apply_progress, [(snapshot().host_id, [status])], NOW + timedelta(minutes=5))
    assert snapshot().started == NOW + shown


def test_a_snapshot_that_is_lost_fails_with_what_is_pending_of_its_set(cloud, elsewhere):
    """Its host can never complete it: who waits for it, as an image does, is not to wait until a deadline."""
    cloud.settle()
    made = cloud.run(create_snapshots.of_instance, cloud.caller, OfInstance(cloud.instances[1]), NOW)
    first, *others = (one.snapshot.id for one in made)
    [snapshot] = cloud.run(lambda tx: [tx.session.get(Snapshot, first)])
    sent = pb.SnapshotStatus(lost=True)
    failed = pb.CONDITION_FAILED
    status = pb.ResourceStatus(kind=int(desired.KIND_SNAPSHOT), id=first, condition=failed, snapshot=sent, error="x")
    cloud.run(apply_progress, [(snapshot.host_id, [status])], NOW)
    found = {each: cloud.run(lambda tx, each=each: tx.session.get(Snapshot, each)) for each in (first, *others)}
    assert others
    assert {one.state for one in found.values()} == {"error"}
    assert found[first].state_message == snapshot_life.LOST
    assert {found[each].state_message for each in others} == {snapshot_life.OF_SET}
    cloud.run(apply_progress, [(snapshot.host_id, [status])], NOW)  # a late word changes nothing
