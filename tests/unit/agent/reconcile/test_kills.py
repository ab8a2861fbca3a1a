"""The agent is killed before and after every call of a subsystem and every note, and the controller goes on meanwhile.

Each operation runs once to count its steps, then once per step with the process ended there. The new process gets what
the old one had not stored, with or without a further change of mind, and must end as wanted with nothing left over.
"""

from collections.abc import Callable

import pytest

from stead_agent.wanted import HOST_NETWORK, SHARED_KINDS, Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from stead_proto.v1.host_pb2 import DesiredState
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench, Killed

Change = Callable[[make.Sender], DesiredState]
MACHINE = Key(pb.KIND_MACHINE, "i-1")
EXTRA = Key(pb.KIND_VOLUME, "vol-19")


def _machine(volumes: tuple[str, ...] = ("vol-1",), **words: object) -> pb.Resource:
    return make.machine("i-1", volumes=volumes, interfaces=("eni-1",), **words)  # type: ignore[arg-type]  # any of its words


def launch(sender: make.Sender) -> DesiredState:
    return sender.change(*make.launch())


def stop(sender: make.Sender) -> DesiredState:
    return sender.change(_machine(power=pb.POWER_STOPPED))


def start_again(sender: make.Sender) -> DesiredState:
    return sender.change(_machine(start_count=2))


def reboot(sender: make.Sender) -> DesiredState:
    return sender.change(_machine(reboot_count=1))


def plug(sender: make.Sender) -> DesiredState:
    return sender.change(make.volume("vol-19", base_id=""), _machine(("vol-1", "vol-19")))


def unplug(sender: make.Sender) -> DesiredState:
    return sender.change(_machine(), gone=(EXTRA,))


def grow(sender: make.Sender) -> DesiredState:
    return sender.change(make.volume("vol-1", size=3 * make.GIB))


def open_port(sender: make.Sender) -> DesiredState:
    return sender.change(make.group(port=443))


def terminate(sender: make.Sender) -> DesiredState:
    return sender.change(gone=tuple(key for key in sender.resources if key != HOST_NETWORK))


def terminate_by_force(sender: make.Sender) -> DesiredState:
    return sender.change(gone=tuple(key for key in sender.resources if key != HOST_NETWORK), force=True)


def say_all(sender: make.Sender) -> DesiredState:
    return sender.full()


STORIES: list[tuple[tuple[Change, ...], Change, Change]] = [
    ((), launch, say_all),
    ((), launch, terminate),
    ((), launch, terminate_by_force),
    ((), launch, stop),
    ((), launch, plug),
    ((launch,), stop, start_again),
    ((launch,), stop, terminate),
    ((launch, stop), start_again, say_all),
    ((launch, stop), start_again, terminate),
    ((launch,), reboot, say_all),
    ((launch,), reboot, stop),
    ((launch,), plug, unplug),
    ((launch,), plug, terminate),
    ((launch, plug), unplug, say_all),
    ((launch, plug), unplug, terminate),
    ((launch, plug), terminate, say_all),
    ((launch,), grow, plug),
    ((launch,), open_port, terminate),
    ((launch,), terminate, say_all),
    ((launch,), terminate_by_force, say_all),
]


def _name(story: tuple[tuple[Change, ...], Change, Change]) -> str:
    before, now, then = story
    return "-".join(each.__name__ for each in (*before, now)) + f"-killed-{then.__name__}"


@pytest.mark.parametrize("after_restart", ["agent", "host"])
@pytest.mark.parametrize("story", [pytest.param(each, id=_name(each)) for each in STORIES])
def test_killed_at_each_step(story: tuple[tuple[Change, ...], Change, Change], after_restart: str) -> None:
    step = 0
    while _notify(story, step, after_restart):
        step += 1
    assert step >= 4


def _notify(story: tuple[tuple[Change, ...], Change, Change], step: int, after_restart: str) -> bool:
    """Play a story with a kill at a step; False when it has fewer steps."""
    before, now, then = story
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), full=True))
    for change in before:
        bench.settle(change(sender))
    started = dict(bench.host.world.objects.starts)
    bench.die_at(step)
    try:
        bench.settle(now(sender))
    except Killed:
        pass  # as asked for
    else:
        return False
    then(sender)
    if after_restart == "host":
        bench.reboot()
    else:
        bench.restart()
    known = bench.reconciler.wanted.revision
    for message in [each for each in sender.sent if each.revision > known]:
        bench.tell(message)
    bench.settle()
    _check(bench, sender, started, f"killed at step {step}")
    return True


def _check(bench: Bench, sender: make.Sender, started: dict[tuple[str, int], int], when: str) -> None:
    host = bench.host
    assert host.violations == [], when
    for start, count in host.world.objects.starts.items():
        assert count - started.get(start, 0) <= 1 or count == 2, (when, start, count)
    ids = {kind: {key.id for key in sender.resources if key.kind == kind} for kind in pb.Kind.values()}
    wanted = sender.resources.get(MACHINE)
    runs = wanted is not None and wanted.machine.power == pb.POWER_RUNNING
    assert host.running() == ({"i-1"} if runs else set()), when
    assert host.volumes.present() == ids[pb.KIND_VOLUME], when
    assert set(host.world.objects.bases) == ids[pb.KIND_BASE], when
    assert set(host.world.objects.networks) == set(host.world.objects.firewalls) == ids[pb.KIND_VPC], when
    assert set(host.world.objects.dhcps) == set(host.metadata.served) == ids[pb.KIND_VPC], when
    if runs and wanted is not None:
        guest = host.world.objects.guests["i-1"]
        assert [disk.id for disk in guest.spec.disks] == [each.volume_id for each in wanted.machine.disks], when
        assert guest.start_count == wanted.machine.start_count, when
        assert guest.reboot_count == wanted.machine.reboot_count, when
    reported = bench.report()
    assert not [
        key for key in reported if key.kind in SHARED_KINDS and reported[key].condition != host_pb2.CONDITION_READY
    ], when
    for key, resource in sender.resources.items():
        if key.kind in SHARED_KINDS:  # of these only failures are reported
            continue
        assert (reported[key].condition, reported[key].revision) == (host_pb2.CONDITION_READY, resource.revision), when
    for key in sender.removals:
        if key.kind in SHARED_KINDS:
            continue
        assert reported[key].condition == host_pb2.CONDITION_ABSENT, (when, key)
    assert bench.reached == sender.revision, when
    bench.sweep()
    assert host.volumes.present() == ids[pb.KIND_VOLUME], when
