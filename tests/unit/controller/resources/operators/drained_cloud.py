"""Three hosts whose disks have a content: the number of the last write; so have the guests of UEFI.

The hosts are those of `test_volumes_on_three_hosts.py`.
"""

from dataclasses import dataclass, field

from sqlalchemy import select, update

from stead_controller.db.tables import (
    Host,
    HostResource,
    Instance,
    Snapshot,
    Volume,
    VolumeMove,
)
from stead_controller.desired import desired_state
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import drain_moves, host_drain, host_records
from stead_controller.resources.storage import (
    snapshot_life,
)
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import CLOUD, NOW
from tests.unit.controller.resources.test_volumes_on_three_hosts import Cloud, ModelHost

SNAPSHOT = int(desired.KIND_SNAPSHOT)
DONE = (pb.CONDITION_READY, pb.CONDITION_ABSENT)


@dataclass
class HostWithContent(ModelHost):
    """Makes each disk of its base; one of before its volume moved away and came back is made anew.

    A guest of UEFI reads and writes what it stores beside its disks at each start.
    """

    bases: dict[str, int] = field(default_factory=dict)  # of all hosts: a snapshot's content
    contents: dict[str, tuple[int, int]] = field(default_factory=dict)  # a disk's home count and content
    stored: dict[str, int] = field(default_factory=dict)  # of all hosts: what each guest of UEFI has stored last
    firmware: dict[str, tuple[int, int]] = field(default_factory=dict)  # its last start here, and what it stored

    def _volume(self, name, volume):
        condition = super()._volume(name, volume)
        if name not in self.disks:
            self.contents.pop(name, None)
        elif volume is not None and not volume.HasField("remote"):
            made = self.contents.get(name)
            if made is None or made[0] < volume.home_count:
                self.contents[name] = (volume.home_count, self.bases.get(volume.base_id, 0))
        return condition

    def _machine(self, name, revision, machine):
        status = super()._machine(name, revision, machine)
        if machine is None:
            self.firmware.pop(name, None)
            return status
        if machine.boot_mode != "uefi":
            return status
        start, content = self.firmware.get(name, (0, 0))
        if machine.power == desired.POWER_STOPPED:
            status.machine.start_count = start
            if start > machine.firmware_kept:
                status.machine.firmware.CopyFrom(desired.FirmwareState(start_count=start, variables=b"%d" % content))
        elif start < machine.start_count:
            if machine.HasField("firmware") and start <= machine.firmware.start_count:
                content = int(machine.firmware.variables)
            assert content == self.stored.get(name, 0), f"{name} starts on {self.id} with what is old"
            self.stored[name] = content + 1
            self.firmware[name] = (machine.start_count, content + 1)
        return status


class DrainedCloud(Cloud):
    """Each guest writes to all its disks whenever a host acts, and must find there what was written last."""

    def __init__(self, path, content):
        super().__init__(path, content)
        self.bases, stored = {}, {}
        self.hosts = [HostWithContent(host.id, bases=self.bases, stored=stored) for host in self.hosts]
        self.written = {}

    def read(self, host, choose=lambda _: True):
        super().read(host, choose)
        query = select(HostResource.resource_id, HostResource.body).where(
            HostResource.host_id == host.id, HostResource.kind == SNAPSHOT, HostResource.body.is_not(None)
        )
        host.taken = {name: desired.Resource.FromString(body).snapshot.volume_id for name, body in self.all(query)}

    def all(self, query):
        return self.run(lambda tx: tx.session.execute(query).all())

    def home_for(self, host, volume_id, generation):
        if not generation:
            return host
        way = (host.id, host.proxies.get(volume_id, 0))
        return next((each for each in self.hosts if each.serves.get(volume_id) == way), None)

    def check(self):
        super().check()
        for host in self.hosts:
            for plugged in host.plugged.values():
                for volume_id, generation in plugged.items():
                    home = self.home_for(host, volume_id, generation)
                    if home is not None:
                        self._write(home, volume_id)

    def _write(self, home, volume_id):
        count, found = home.contents[volume_id]
        assert found == self.written.get(volume_id, 0), f"{volume_id} on {home.id} is not what was written last"
        self.written[volume_id] = found + 1
        home.contents[volume_id] = (count, found + 1)

    def act(self, host, *, delay=False):
        statuses = super().act(host, delay=delay)
        for name, volume_id in host.taken.items():
            if name in self.bases:
                self.run(complete, name)
            elif volume_id in host.contents and not host.users(volume_id):
                self.bases[name] = host.contents[volume_id][1]
            elif (home := self.home_for(host, volume_id, 1)) is not None:
                self.bases[name] = home.contents[volume_id][1]
        if all(status.condition in DONE for status in statuses):
            reached = max((revision for revision, _ in host.sent.values()), default=0)
            mine = update(Host).where(Host.id == host.id).values(revision_reached=reached)
            self.run(lambda tx: tx.session.execute(mine) and None)
        return statuses

    def boot_by_uefi(self, *numbers):
        """Have instances boot by UEFI, on hosts that can."""
        mine = update(Instance).where(Instance.id.in_([self.instances[number] for number in numbers]))
        able = update(Host).values(uefi=True, lays_firmware=True)
        self.run(lambda tx: [tx.session.execute(each) for each in (mine.values(boot_mode="uefi"), able)] and None)
        for number in numbers:
            self.run(desired_state.refresh_instance, self.instances[number])
        self.settle()

    def empty(self):
        """Let the controller do what it does each second."""
        self.run(drain_moves.take_steps, CLOUD, NOW)
        self.run(host_drain.start_elsewhere, CLOUD, NOW)

    def settle_all(self):
        for _ in range(4):
            self.empty()
            self.settle()

    def drain(self, number=0, *, stop=False):
        return self.run(host_records.drain_host, CLOUD, self.hosts[number].id, NOW, stop=stop)

    def shown(self, number=0):
        return self.run(host_records.show_host, CLOUD, self.hosts[number].id)

    def step(self, rng):
        host = rng.choice(self.hosts)
        match rng.randrange(8):
            case 0:
                self.run(host_records.drain_host, CLOUD, host.id, NOW, stop=rng.random() < 0.3)
            case 1:
                self.run(host_records.set_schedulable, CLOUD, host.id, NOW, schedulable=True)
            case 2 | 3:
                self.empty()
            case _:
                super().step(rng)


def complete(tx, snapshot_id):
    snapshot = tx.session.get_one(Snapshot, snapshot_id)
    if snapshot.state == "pending":
        snapshot_life.complete(tx, snapshot, NOW)


def hidden(cloud):
    """List the snapshots of moves that are not over."""
    found = select(Snapshot.id).where(Snapshot.description.like("moves %"), Snapshot.state != "deleting")
    return [name for (name,) in cloud.all(found)]


def volume(cloud, volume_id):
    return cloud.run(lambda tx: tx.session.get(Volume, volume_id))


def instance(cloud, number):
    return cloud.run(lambda tx: tx.session.get_one(Instance, cloud.instances[number]))


def make_loose(cloud):
    """Make a volume with a content at home on the first host, attached to nothing; the host's instances are gone."""
    volume_id = cloud.volumes[0]
    attach(cloud, volume_id, 0)
    cloud.settle()
    cloud.run(volume_attachments.detach, cloud.caller, volume_id)
    cloud.settle()
    end_guests(cloud)
    return volume_id


def end_guests(cloud):
    mine = [cloud.instances[0], cloud.instances[3]]
    ends = update(Volume).where(Volume.instance_id.in_(mine)).values(delete_on_termination=True)
    cloud.run(lambda tx: tx.session.execute(ends) and None)
    cloud.run(terminate_instances, cloud.caller, mine, NOW)
    cloud.settle()


def attach(cloud, volume_id, number):
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, cloud.instances[number], "/dev/sdf", NOW)


def moves(cloud):
    return [(move.volume_id, move.failure) for (move,) in cloud.all(select(VolumeMove))]


def stopped(cloud, number=0):
    cloud.run(stop_instances, cloud.caller, [cloud.instances[number]], NOW)
    cloud.settle()


def fail_snapshots(cloud):
    def fail(tx):
        for snapshot in tx.session.scalars(select(Snapshot).where(Snapshot.state == "pending")).all():
            snapshot_life.fail(tx, snapshot, "the disk is broken")

    cloud.run(fail)
