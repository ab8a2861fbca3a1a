"""A host is drained, and the controller or an agent is killed at a step of that: what moves is whole, in one place.

A volume that is attached to nothing moves, and a stopped instance of UEFI with its root volume.
"""

from dataclasses import dataclass, field

import pytest
from sqlalchemy import select

from stead_controller.db.tables import InstanceFirmware, Snapshot, VolumeMove
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import drain_moves
from tests.support.rows import CLOUD, NOW
from tests.unit.controller.resources.operators.drained_cloud import (
    DrainedCloud,
    HostWithContent,
    attach,
    hidden,
    instance,
    stopped,
    volume,
)

_STRIDE = 5  # of the steps at which something is killed, since each takes a fifth of a second


class Killed(BaseException):
    """A process was killed here."""


@dataclass
class Fate:
    """Kills a process at a later step; `moving` are the ids of what moves: other steps do not count."""

    moving: set[str] = field(default_factory=set)
    steps: int | None = None

    def step(self) -> None:
        if self.steps == 0:
            self.steps = None
            raise Killed
        if self.steps is not None:
            self.steps -= 1


@dataclass
class MortalHost(HostWithContent):
    """Its agent may be killed before and after each thing that it does with what moves."""

    fate: Fate = field(default_factory=Fate)

    def _volume(self, name, volume):
        return self._mortally(super()._volume, name, volume)

    def _machine(self, name, revision, machine):
        return self._mortally(super()._machine, name, revision, machine)

    def _mortally(self, work, name, *given):
        counts = name in self.fate.moving
        if counts:
            self.fate.step()
        done = work(name, *given)
        if counts:
            self.fate.step()
        return done


class MortalCloud(DrainedCloud):
    """Its controller may be killed before and after it commits what it does."""

    def __init__(self, path, content):
        super().__init__(path, content)
        self.fate = Fate()
        stored = self.hosts[0].stored
        self.hosts = [MortalHost(host.id, bases=self.bases, stored=stored, fate=self.fate) for host in self.hosts]

    def empty(self):
        def take_steps(tx):
            drain_moves.take_steps(tx, CLOUD, NOW)
            self.fate.step()

        self.run(take_steps)
        self.fate.step()

    def report(self, host_id, statuses):
        counts = any(status.id in self.fate.moving for status in statuses)
        if counts:
            self.fate.step()  # the agent is killed before it has said so, or the controller before it has heard it
        super().report(host_id, statuses)

    def go_on(self):
        """Let the controller and all hosts do what they do, until the first host is empty."""
        for _ in range(12):
            self.empty()
            for host in self.hosts:
                self.act(host)
            if not self.hosts[0].disks and self.shown().state == "drained":
                return


@pytest.fixture
def begun(tmp_path, empty_database_file):
    """A cloud whose first host is drained, and has what moves; its database is closed."""
    path = tmp_path / "begun.sqlite"
    made = MortalCloud(path, empty_database_file)
    made.settle()
    made.boot_by_uefi(0)
    loose = made.volumes[0]
    attach(made, loose, 0)
    made.settle()
    made.run(volume_attachments.detach, made.caller, loose)
    made.run(terminate_instances, made.caller, [made.instances[each] for each in (1, 2, 3, 4, 5)], NOW)
    made.settle()
    stopped(made)
    made.drain()
    made.fate.moving = {loose, made.instances[0], *made.roots}
    made.database.close()
    return path, made


@pytest.mark.story
def test_killed_at_any_step_all_that_moves_is_whole(tmp_path, begun):
    path, made = begun
    content = path.read_bytes()
    step, killed = 0, True
    while killed:
        copied = tmp_path / f"{step}.sqlite"
        copied.write_bytes(content)
        cloud = made.fork(copied)
        cloud.fate.steps = step
        killed = False
        try:
            cloud.go_on()
        except Killed:
            killed = True
            cloud.go_on()
        cloud.fate.steps = None
        _check(cloud, f"killed at step {step}")
        cloud.database.close()
        copied.unlink()
        step += _STRIDE
    assert step > 25


def _check(cloud, when):
    first, loose = cloud.hosts[0], cloud.volumes[0]
    assert cloud.shown().state == "drained", when
    assert (first.disks, first.firmware, first.serves) == (set(), {}, {}), when
    assert (cloud.all(select(VolumeMove.volume_id)), hidden(cloud)) == ([], []), when
    assert (volume(cloud, loose).home_count, volume(cloud, loose).state) == (1, "available"), when
    assert cloud.all(select(Snapshot.id).where(Snapshot.state == "pending")) == [], when
    assert instance(cloud, 0).host_id != first.id, when
    assert len(cloud.all(select(InstanceFirmware.instance_id))) == 1, when
    attach(cloud, loose, 0)
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.settle()  # its guest finds what was written last, on both volumes and in its variables
    assert (instance(cloud, 0).state, volume(cloud, loose).attachment_state) == ("running", "attached"), when
