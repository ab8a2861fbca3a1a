"""What an instance's bandwidth becomes in the kernel."""

from dataclasses import replace

import pytest

from stead_agent.network.bandwidth import SAVED_MS, limited, shaper_names, shaper_objects, shapers_of
from stead_agent.network.interface import Bandwidth, LocalInterface, VpcNetwork
from stead_agent.network.kernel_objects import Place, Setting, Shaper, Up
from stead_agent.network.plan import Change, Make, Remove, plan
from stead_agent.network.traffic_control import LATE_MS

ONE, OTHER = "i-0123456789abcdef0", "i-0123456789abcdef1"
VPC_ID = "vpc-1"
INTO, OUT_OF = "stn56789abcdef0", "sto56789abcdef0"
FIRST = LocalInterface(
    "eni-1", "subnet-1", "06:00:00:00:00:01", ("10.0.0.4",), bandwidth=Bandwidth(ONE, VPC_ID, 750, 10_000)
)
VPC = VpcNetwork("vpc-1", 1, ("10.0.0.0/16",), (), (FIRST,), mtu=1500)
ALIAS = "stead vpc-1"


def shapers(*bandwidths: Bandwidth | None, mtu: int = 1500) -> list[Shaper]:
    interfaces = tuple(replace(FIRST, id=f"eni-{number}", bandwidth=each) for number, each in enumerate(bandwidths))
    found = shaper_objects(replace(VPC, interfaces=interfaces, mtu=mtu), ALIAS)
    return [each for each in found if isinstance(each, Shaper)]


def test_an_instance_has_one_for_each_direction() -> None:
    rate, ceil = 750_000_000 * 1514 // 12_000, 10_000_000_000 * 1514 // 12_000
    assert shaper_names(Bandwidth(ONE, VPC_ID, 1, 1)) == (INTO, OUT_OF)
    assert shaper_objects(VPC, ALIAS) == [
        Shaper(INTO, f"{ALIAS} {ONE}", rate, ceil, SAVED_MS),
        Setting(Place.HOST, f"net/ipv6/conf/{INTO}/disable_ipv6", "1", INTO),
        Up(Place.HOST, INTO),
        Shaper(OUT_OF, f"{ALIAS} {ONE}", rate, ceil, SAVED_MS),
        Setting(Place.HOST, f"net/ipv6/conf/{OUT_OF}/disable_ipv6", "1", OUT_OF),
        Up(Place.HOST, OUT_OF),
    ]


def test_all_interfaces_of_an_instance_have_the_same() -> None:
    both = Bandwidth(ONE, VPC_ID, 100, 100)
    assert len(shapers(both, both)) == 2
    assert len(shapers(both, Bandwidth(OTHER, VPC_ID, 100, 100), None)) == 4
    assert limited(replace(VPC, interfaces=(FIRST, replace(FIRST, bandwidth=None)))) == {ONE: FIRST.bandwidth}
    assert shapers_of(FIRST) == (INTO, OUT_OF)
    assert shapers_of(replace(FIRST, bandwidth=None)) == ("", "")


def test_an_interface_in_another_vpc_than_the_primary_one_shares_that_ones() -> None:
    beside = replace(FIRST, bandwidth=Bandwidth(ONE, "vpc-2", 750, 10_000))
    assert shaper_objects(replace(VPC, interfaces=(beside,)), ALIAS) == []
    assert shapers_of(beside) == (INTO, OUT_OF)


def test_without_a_burst_nothing_is_saved() -> None:
    assert {each.saved_ms for each in shapers(Bandwidth(ONE, VPC_ID, 100, 100))} == {LATE_MS}
    assert {each.saved_ms for each in shapers(Bandwidth(ONE, VPC_ID, 100, 101))} == {SAVED_MS}
    (one, _) = shapers(Bandwidth(ONE, VPC_ID, 100, 50))
    assert one.ceil == one.rate, "a burst is never less than the baseline"


@pytest.mark.parametrize("mtu", [1400, 1500, 9001])
def test_the_figure_is_of_ip_packets_of_the_largest_size(mtu: int) -> None:
    (one, _) = shapers(Bandwidth(ONE, VPC_ID, 8, 8), mtu=mtu)
    assert one.rate * mtu / (mtu + 14) == pytest.approx(1_000_000, rel=1e-5)


def test_a_shaper_is_changed_in_place_and_removed_with_all_that_is_its_own() -> None:
    before = shaper_objects(VPC, ALIAS)
    faster = replace(VPC, interfaces=(replace(FIRST, bandwidth=Bandwidth(ONE, VPC_ID, 1000, 10_000)),))
    steps = plan(before, shaper_objects(faster, ALIAS))
    assert [type(step) for step in steps] == [Change, Change]
    assert [step.obj for step in plan(before, []) if isinstance(step, Remove)] == [
        each for each in before if isinstance(each, Shaper)
    ]
    made = [step.obj for step in plan([], before) if isinstance(step, Make)]
    assert [type(each) for each in made] == [Shaper, Shaper, Setting, Setting, Up, Up]
