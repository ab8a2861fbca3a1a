"""The agent's chores over a simulated host."""

from dataclasses import replace

import pytest

from stead_agent import agent
from stead_agent.network.interface import NetworkError
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.simulated.networks import SimulatedNetwork
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench


class _Damaged(SimulatedNetwork):
    """A network that finds something to repair, or fails at it."""

    found: tuple[str, ...] = ()
    broken = False

    def audit(self) -> tuple[str, ...]:
        if self.broken:
            raise NetworkError("netlink said no")
        return self.found


def test_an_audit_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    host = SimulatedHost(SteppedClock())
    network = _Damaged(host.world)
    parts = replace(host.subsystems, network=network)
    host.world.things.trash.append("vol-9")
    assert not agent.audit(parts)
    network.found = ("route 10.1.0.5 was gone",)
    assert agent.audit(parts)
    network.broken = True
    assert not agent.audit(parts)
    assert host.world.things.trash == []
    assert "audit_failed" in caplog.text


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
    assert bench.host.world.things.starts == {("i-1", 1): 1}
