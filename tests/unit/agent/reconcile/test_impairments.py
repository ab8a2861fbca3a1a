"""What is wrong with a running guest's volumes is reported when it begins, and when it ends."""

from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

VOLUME = Key(pb.KIND_VOLUME, "vol-1")


def test_requests_that_are_not_done_are_reported_of_their_volume() -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    for stalled in (True, False, True):
        bench.host.stall_volume("i-1", "vol-1", stalled=stalled)
        bench.settle(seconds=0)
        assert bench.report()[VOLUME].volume.stalled is stalled
        assert bench.machine("i-1").power == host_pb2.MACHINE_POWER_RUNNING
    machine = make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1",), power=pb.POWER_STOPPED)
    bench.settle(sender.change(machine))
    assert not bench.report()[VOLUME].volume.stalled, "of one that is off nothing is wrong"
