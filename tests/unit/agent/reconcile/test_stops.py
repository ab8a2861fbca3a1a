"""Stops of guests that do not listen."""

from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


def _stopped(*, hasten: bool = False) -> pb.Resource:
    machine = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",), power=pb.POWER_STOPPED)
    machine.machine.hasten_stop = hasten
    return machine


def test_a_stop_under_way_is_hastened_once() -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    bench.host.hang_guest("i-1")
    bench.settle(sender.change(_stopped()), seconds=10)
    bench.calls.clear()
    bench.settle(sender.change(_stopped(hasten=True)), seconds=20)
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_STOPPING
    assert bench.calls.count(("machines.stop", "i-1")) == 1
    bench.settle(seconds=11)
    assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_OFF
