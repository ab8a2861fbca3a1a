"""Which tracked flows are judged, how often, and which of them end; the kernel's own messages are in tests/host/firewall."""

import errno
import socket
from dataclasses import dataclass, field
from typing import Any

import pytest

from stead_agent.firewall.conntrack import end_flows
from stead_agent.firewall.flows import Flow
from tests.unit.agent.firewall.tracking import Tracked, Tracking

ONE, TWO, PEER = "10.0.1.1", "10.0.1.2", "10.9.9.9"
MANY = 4000  # from so many flows on the kernel searches


@dataclass
class Admits:
    """A judge that admits flows to some ports, and notes what it was asked."""

    ports: tuple[int, ...] = ()
    asked: list[Flow] = field(default_factory=list)

    def __call__(self, flow: Flow) -> bool:
        self.asked.append(flow)
        return flow.port in self.ports


def end(tracking: Any, *addresses: str, admits: Admits | None = None) -> int:
    return end_flows(tracking, frozenset(addresses), Admits() if admits is None else admits)


def numbers(tracking: Tracking) -> list[int]:
    return [flow.number for flow in tracking.flows]


FLOWS = [
    Tracked(1, ONE, PEER),
    Tracked(2, PEER, ONE),
    Tracked(3, PEER, TWO),
    Tracked(4, PEER, "198.51.100.7", answers_from=ONE),
    Tracked(5, ONE, PEER, answers_to="198.51.100.7"),
    Tracked(6, ONE, PEER, port=22),
    Tracked(7, "fd00::1", "fd00::9"),
    Tracked(8, "fd00::9", "fd00::1", port=22),
]


@pytest.mark.parametrize("count", [None, MANY])
def test_flows_of_the_addresses_end_unless_they_are_admitted(count: int | None) -> None:
    tracking = Tracking(FLOWS, count)
    assert end(tracking, ONE, admits=Admits((22,))) == 4
    assert numbers(tracking) == [3, 6, 7, 8]
    assert end(tracking, "fd00::1", admits=Admits((22,))) == 1
    assert numbers(tracking) == [3, 6, 8]


def test_nothing_is_read_without_addresses_or_flows() -> None:
    tracking = Tracking([])
    assert end(tracking, ONE) == 0
    tracking = Tracking(FLOWS)
    assert (end(tracking), tracking.dumps) == (0, [])


@pytest.mark.parametrize(
    ("count", "addresses", "dumps"),
    [
        (MANY - 1, 1, [(socket.AF_UNSPEC, False)]),
        (MANY, 1, [(socket.AF_INET, True)] * 2),
        (MANY, 8, [(socket.AF_INET, True)] * 16),
        (MANY, 9, [(socket.AF_UNSPEC, False)]),
    ],
)
def test_the_kernel_searches_for_few_addresses_among_many_flows(
    count: int, addresses: int, dumps: list[tuple[int, bool]]
) -> None:
    tracking = Tracking([Tracked(1, ONE, PEER)], count)
    assert end(tracking, *(f"10.0.1.{number}" for number in range(1, addresses + 1))) == 1
    assert tracking.dumps == dumps


def test_the_kernel_searches_by_the_family_of_an_address() -> None:
    tracking = Tracking([Tracked(1, "fd00::1", "fd00::9")], MANY)
    assert end(tracking, "fd00::1") == 1
    assert tracking.dumps == [(socket.AF_INET6, True)] * 2


def test_a_flow_that_the_kernel_finds_twice_ends_once() -> None:
    tracking = Tracking([Tracked(1, ONE, TWO)], MANY)
    assert (end(tracking, ONE, TWO), tracking.flows) == (1, [])


def test_a_flow_is_described_as_it_was_begun_and_is_answered() -> None:
    admits = Admits()
    nat = Tracked(1, PEER, "198.51.100.7", port=443, protocol=17, answers_from=ONE, answers_to="10.0.0.9")
    assert end(Tracking([nat]), ONE, admits=admits) == 1
    assert admits.asked == [Flow(17, PEER, "198.51.100.7", 443, -1, ONE, "10.0.0.9")]


@pytest.mark.parametrize(("source", "protocol"), [(ONE, 1), ("fd00::1", 58)])
def test_of_icmp_type_and_code_count(source: str, protocol: int) -> None:
    admits = Admits()
    peer = "fd00::9" if ":" in source else PEER
    assert end(Tracking([Tracked(1, source, peer, protocol=protocol, icmp=(77, 8, 3))]), source, admits=admits) == 1
    assert admits.asked == [Flow(protocol, source, peer, 8, 3, peer, source)]


def alike(family: str) -> list[Tracked]:
    one, peer = (ONE, PEER) if family == "4" else ("fd00::1", "fd00::9")
    return [Tracked(1, one, peer), Tracked(2, one, peer, client_port=40_001)]


@pytest.mark.parametrize("family", ["4", "6"])
def test_flows_that_differ_by_the_clients_port_are_judged_once(family: str) -> None:
    admits = Admits()
    flows = alike(family)
    assert end(Tracking(flows), flows[0].source, admits=admits) == 2
    assert len(admits.asked) == 1
    pings = [Tracked(n, flows[0].source, flows[0].destination, protocol=1, icmp=(n, 8, 0)) for n in (1, 2)]
    admits = Admits((8,))
    assert end(Tracking(pings), flows[0].source, admits=admits) == 0
    assert len(admits.asked) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Tracked(1, ONE, PEER), Tracked(2, ONE, PEER, port=81)),
        (Tracked(1, ONE, PEER), Tracked(2, ONE, PEER, protocol=17)),
        (Tracked(1, ONE, PEER), Tracked(2, ONE, "10.9.9.8")),
        (Tracked(1, PEER, ONE), Tracked(2, "10.9.9.8", ONE)),
        (Tracked(1, PEER, TWO, answers_from=ONE), Tracked(2, PEER, TWO, answers_from=ONE, answers_to="10.9.9.8")),
        (Tracked(1, ONE, TWO), Tracked(2, ONE, TWO, answers_from=PEER)),
        (Tracked(1, ONE, PEER, icmp=(1, 8, 0), protocol=1), Tracked(2, ONE, PEER, icmp=(1, 8, 1), protocol=1)),
        (Tracked(1, "fd00::1", "fd00::9"), Tracked(2, "fd00::1", "fd00::9", port=81)),
        (Tracked(1, "fd00::1", "fd00::9"), Tracked(2, "fd00::1", "fd00::8")),
        (Tracked(1, "fd00::1", "fd00::9"), Tracked(2, "fd00::1", "fd00::9", answers_from="fd00::8")),
        (
            Tracked(1, "fd00::1", "fd00::9", icmp=(1, 128, 0), protocol=58),
            Tracked(2, "fd00::1", "fd00::9", icmp=(1, 129, 0), protocol=58),
        ),
    ],
)
def test_all_else_is_judged_by_itself(one: Tracked, other: Tracked) -> None:
    admits = Admits()
    assert end(Tracking([one, other]), ONE, "fd00::1", admits=admits) == 2
    assert len(admits.asked) == 2


def test_a_flow_that_began_anew_meanwhile_goes_on() -> None:
    """It is another, which the new rules have seen."""
    tracking = Tracking([Tracked(1, ONE, PEER)], renumbered=True)
    assert (end(tracking, ONE), numbers(tracking)) == (0, [1001])


def test_the_same_flow_in_another_zone_is_another() -> None:
    tracking = Tracking([Tracked(1, ONE, PEER, zone=5), Tracked(1, ONE, PEER, port=22)])
    assert end(tracking, ONE, admits=Admits((22,))) == 1
    assert [flow.zone for flow in tracking.flows] == [0]


def test_a_kernel_that_refuses_is_heard() -> None:
    with pytest.raises(OSError, match="no") as error:
        end(Tracking(FLOWS, refusal=errno.EPERM), ONE)
    assert error.value.errno == errno.EPERM
