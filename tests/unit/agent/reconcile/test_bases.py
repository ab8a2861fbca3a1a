"""Bases: there before their volumes, fetched again when the controller is back, gone after their volumes, never strays."""

from stead_agent.disks.bases.interface import BaseAwayError
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

BASE = Key(pb.KIND_BASE, "snap-1")
VOLUME = Key(pb.KIND_VOLUME, "vol-1")


def over_base(volume_id="vol-1"):
    return pb.Resource(id=volume_id, volume=pb.Volume(size=make.GIB, base_id="snap-1", volume_type="gp3"))


def base():
    return pb.Resource(id="snap-1", base=pb.Base(size=make.GIB, stored_size=make.GIB // 2))


def begun():
    bench, sender = Bench(), make.Sender()
    bench.tell(sender.change(make.host_network(), full=True))
    return bench, sender


def condition(bench, key):
    last = bench.reconciler.reports.latest(key)
    return last.condition if last is not None else None


def test_a_volume_waits_for_its_base():
    bench, sender = begun()
    bench.host.fail_next("bases.ensure", BaseAwayError("no controller"))
    bench.tell(sender.change(base(), over_base()))
    bench.work()
    assert condition(bench, BASE) == host_pb2.CONDITION_FAILED
    assert bench.host.subsystems.volumes.present() == frozenset()
    bench.reconciler.controller_answered(b"authorities")
    bench.settle()
    assert condition(bench, VOLUME) == host_pb2.CONDITION_READY
    assert bench.host.subsystems.volumes.source("vol-1").base == bench.host.subsystems.bases.source("snap-1")
    assert bench.host.violations == []


def test_a_base_goes_after_its_volumes_and_is_a_stray_otherwise():
    bench, sender = begun()
    bench.tell(sender.change(base(), over_base()))
    bench.settle()
    bench.tell(sender.change(gone=(BASE, VOLUME)))
    bench.settle()
    assert bench.host.subsystems.bases.present() == frozenset()
    assert condition(bench, BASE) == host_pb2.CONDITION_ABSENT
    assert bench.host.violations == []
    bench.host.world.objects.bases["snap-2"] = 1
    bench.reconciler.remove_strays([Key(pb.KIND_BASE, each) for each in bench.host.subsystems.bases.present()])
    bench.settle()
    assert bench.host.subsystems.bases.present() == frozenset()
