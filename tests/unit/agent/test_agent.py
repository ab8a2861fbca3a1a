"""The agent's chores over a simulated host."""

from collections.abc import Set as AbstractSet
from dataclasses import replace

import pytest

from stead_agent import agent
from stead_agent.network.interface import NetworkError, Touched
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.simulated.networks import SimulatedFirewall, SimulatedNetwork
from stead_agent.simulated.world import World
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


class _Damaged(SimulatedNetwork):
    """A network that finds something to repair, or fails at it."""

    found: tuple[str, ...] = ()
    broken = False

    asked: list[AbstractSet[str] | None]

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked = []

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        self.asked.append(touched)
        if self.broken:
            raise NetworkError("netlink said no")
        return self.found

    changed: AbstractSet[str] = frozenset()

    def unsettled(self) -> AbstractSet[str]:
        if self.broken:
            raise NetworkError("netlink said no")
        return self.changed


class _DamagedRules(SimulatedFirewall):
    """A firewall that notes what it is asked to look at."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked: list[AbstractSet[str] | None] = []

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        self.asked.append(touched)
        return ()


def test_an_audit_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    host = SimulatedHost(SteppedClock())
    network = _Damaged(host.world)
    parts = replace(host.subsystems, network=network)
    host.world.objects.trash.append("vol-9")
    assert not agent.audit(parts)
    network.found = ("route 10.1.0.5 was gone",)
    assert agent.audit(parts)
    network.broken = True
    assert not agent.audit(parts)
    assert host.world.objects.trash == []
    assert "audit_failed" in caplog.text


def test_only_what_was_touched_is_looked_at() -> None:
    host = SimulatedHost(SteppedClock())
    network, rules = _Damaged(host.world), _DamagedRules(host.world)
    parts = replace(host.subsystems, network=network, firewall=rules)
    host.world.objects.trash.append("vol-9")
    agent.audit(parts, Touched(rules=frozenset({"vpc-2"})))
    agent.audit(parts, Touched(links=frozenset({"vpc-1"}), rules=frozenset({"vpc-2"})))
    assert network.asked == [{"vpc-2"}, {"vpc-1", "vpc-2"}]  # what counts traffic is among the rules
    agent.audit(parts, Touched(taps=frozenset({"stt1"})))
    assert len(network.asked) == 2  # nothing of a VPC was touched
    assert rules.asked[:2] == [{"vpc-2"}, {"vpc-1", "vpc-2"}]  # new links have no rules yet
    assert host.world.objects.trash == ["vol-9"]  # emptied with the look at everything
    agent.audit(parts)
    assert (network.asked[-1], rules.asked[-1], host.world.objects.trash) == (None, None, [])


def test_a_closer_look_goes_on_after_a_failure() -> None:
    host = SimulatedHost(SteppedClock())
    network = _Damaged(host.world)
    parts = replace(host.subsystems, network=network)
    network.changed = frozenset({"vpc-1"})
    assert agent.look_closer(parts) == {"vpc-1"}
    network.broken = True
    assert agent.look_closer(parts) == frozenset()


def test_all_that_exists_is_listed() -> None:
    bench = Bench()
    bench.settle(make.Sender().change(make.host_network(), *make.launch(), full=True))
    assert set(agent.list_present(bench.host.subsystems)) == {
        Key(pb.KIND_VPC, "vpc-1"),
        Key(pb.KIND_BASE, "snap-1"),
        Key(pb.KIND_VOLUME, "vol-1"),
        Key(pb.KIND_MACHINE, "i-1"),
    }


def test_after_a_repair_networks_are_applied_again() -> None:
    bench = Bench()
    bench.settle(make.Sender().change(make.host_network(), *make.launch(), full=True))
    bench.calls.clear()
    bench.reconciler.look_at_networks()
    bench.settle()
    assert ("network.apply", "vpc-1") in bench.calls
    assert ("dhcp.apply", "vpc-1") in bench.calls
    assert bench.host.world.objects.starts == {("i-1", 1): 1}
