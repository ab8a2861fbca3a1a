"""The root volume of a running machine is replaced: another start, that leaves its instance store as it is."""

import pytest

from stead_agent.disks.volumes.interface import VolumeError
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

MACHINE = Key(pb.KIND_MACHINE, "i-1")
READY = host_pb2.CONDITION_READY
FAILED = host_pb2.CONDITION_FAILED


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    return bench


def _machine(**changes: object) -> pb.Resource:
    words = {"volumes": ("vol-1",), "interfaces": ("eni-1",)} | changes
    return make.machine("i-1", **words)  # type: ignore[arg-type]  # any of its words


def _with_store(**changes: object) -> pb.Resource:
    machine = _machine(**changes)
    store = pb.InstanceStoreDisk(index=0, size=4 << 30, virtual_name="ephemeral0")
    machine.machine.disks.append(pb.MachineDisk(device_name="/dev/sdb", instance_store=store))
    return machine


def test_a_root_volume_is_replaced_by_a_start_that_leaves_the_instance_store(bench: Bench, sender: make.Sender) -> None:
    bench.settle(sender.change(_with_store(power=pb.POWER_STOPPED)))
    bench.settle(sender.change(_with_store(start_count=2)))
    stores = bench.host.world.objects.stores
    before = stores["i-1-store0"]
    bench.settle(sender.change(make.volume("vol-2"), _with_store(volumes=("vol-2",), start_count=3, stores_since=2)))
    assert (bench.machine("i-1").start_count, bench.machine("i-1").volume_ids) == (3, ["vol-2"])
    assert bench.report()[MACHINE].condition == READY
    assert stores["i-1-store0"] is before
    bench.settle(sender.change(_with_store(volumes=("vol-2",), start_count=3, power=pb.POWER_STOPPED)))
    assert not stores
    bench.settle(sender.change(_with_store(volumes=("vol-2",), start_count=4)))
    before = stores["i-1-store0"]
    bench.settle(sender.change(_with_store(volumes=("vol-2",), start_count=5)))
    assert stores["i-1-store0"] is not before
    assert bench.host.violations == []


def test_a_guest_is_not_shut_down_for_a_root_volume_that_is_not_there(bench: Bench, sender: make.Sender) -> None:
    bench.host.fail_next("volumes.ensure", VolumeError("the disk is broken"), times=1000)
    bench.settle(
        sender.change(make.volume("vol-2", base_id=""), _machine(volumes=("vol-2",), start_count=2)), seconds=30
    )
    assert (bench.host.running(), bench.machine("i-1").start_count) == ({"i-1"}, 1)
    assert (bench.report()[MACHINE].condition, bench.report()[MACHINE].error) == (FAILED, "vol-2: the disk is broken")
    bench.settle(sender.change(_machine(start_count=3)))
    assert bench.machine("i-1").start_count == 3
    assert bench.report()[MACHINE].condition == READY
