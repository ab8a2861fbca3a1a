"""A change that nobody waits for is done at once, and said with the next report."""

from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


def test_what_nobody_waits_for_is_done_and_is_no_news() -> None:
    bench, sender = Bench(), make.Sender()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    bench.report()
    place = Key(pb.KIND_MAPPING, "eni-9")
    for change in (sender.change(make.mapping(place.id, "10.0.0.9")), sender.change(gone=(place,))):
        change.patient = True
        bench.settle(change)
        assert not bench.reconciler.reports.has_news()
        assert bench.reached == change.revision
    bench.settle(sender.change(make.mapping(place.id, "10.0.0.9")))
    assert bench.reconciler.reports.has_news()
