"""Guests' interfaces are limited to what their instances may send and receive, as soon as they have them."""

import pytest

from stead_agent.network.interface import Bandwidth, NetworkError
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


@pytest.fixture
def sender() -> make.Sender:
    return make.Sender()


@pytest.fixture
def bench(sender: make.Sender) -> Bench:
    """A host with one running machine, i-1."""
    bench = Bench()
    bench.settle(sender.change(make.host_network(), *make.launch(), full=True))
    return bench


def test_the_interfaces_of_a_guest_are_limited_once_it_has_them(bench: Bench, sender: make.Sender) -> None:
    limits = Bandwidth("i-1", "vpc-1", 100, 1000)
    names = [name for name, _ in bench.calls]
    assert names.index("network.settle") > names.index("machines.start")
    assert bench.host.world.objects.bandwidths == {"eni-1": limits}
    spare = make.interface("eni-9", "i-1", number=9)
    bench.settle(sender.change(spare, make.machine("i-1", volumes=("vol-1",), interfaces=("eni-1", "eni-9"))))
    assert bench.host.world.objects.bandwidths == {"eni-1": limits, "eni-9": limits}


def test_interfaces_that_could_not_be_limited_are_tried_again(bench: Bench, sender: make.Sender) -> None:
    bench.host.fail_next("network.settle", NetworkError("no shaper"), times=1)
    bench.settle(sender.change(*make.launch("2")), seconds=0)
    assert "eni-2" not in bench.host.world.objects.bandwidths
    bench.settle()
    assert "eni-2" in bench.host.world.objects.bandwidths
    assert bench.host.violations == []
