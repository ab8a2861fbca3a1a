"""A subnet in a world, who asks its guests whether they answer, and a clock that a test lets run ahead."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyroute2 import IPRoute

from stead_agent.network import interface as net
from stead_agent.reachability.interface import Answers, Finding, Nic
from stead_agent.reachability.probes import NeighbourProbes
from tests.host.network.world import POOL, Guest, World, new_world
from tests.support.waiting import wait_for


@dataclass
class Clock:
    """Real seconds, and those that the test lets pass at once."""

    ahead: float = 0.0

    def now(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Stage:
    """A subnet with its firewall, and who asks there."""

    world: World
    vpc_id: str
    clock: Clock
    probes: NeighbourProbes
    heard: list[str] = field(default_factory=list)

    def subnet_of(self, guest: Guest) -> net.Subnet:
        (home,) = [it.subnet_id for it in self.world.vpcs[self.vpc_id][0].interfaces if it.id == guest.interface_id]
        (found,) = [each for each in self.world.vpcs[self.vpc_id][0].subnets if each.id == home]
        return found

    def find(self, guest: Guest, start_count: int = 1, *, fresh: bool = True) -> Finding:
        subnet = self.subnet_of(guest)
        gateway = net.GATEWAY_LINK_LOCAL if ":" in guest.address else net.gateway_address(subnet.cidr)
        link = net.subnet_link_name(subnet.id)
        nic = Nic(self.vpc_id, link, net.GATEWAY_MAC, gateway, guest.mac, guest.address)
        return self.probes.watch(guest.interface_id, nic, start_count, fresh=fresh)

    def watch(self, guest: Guest, start_count: int = 1, *, fresh: bool = True) -> Answers:
        return self.find(guest, start_count, fresh=fresh).answers

    def wait_for(self, guest: Guest, wanted: Answers, *, seconds: float = 0.0) -> None:
        """Wait until that is known of a guest, letting these seconds pass at each look."""

        def is_known() -> bool:
            self.clock.ahead += seconds
            return self.watch(guest) is wanted

        wait_for(is_known, f"{guest.address}: {wanted}")


@contextmanager
def new_stage() -> Iterator[Stage]:
    """A VPC with one subnet, and nobody in it."""
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        clock = Clock()
        probes = NeighbourProbes(world.namespaces, clock.now, longest_wait=0.02)
        made = Stage(world, world.vpc("10.0.0.0/16", "10.0.1.0/24"), clock, probes)
        probes.subscribe(made.heard.append)
        yield made
        probes.close()


def set_link(stage: Stage, guest: Guest, state: str) -> None:
    """Let a guest switch its own network on or off."""

    def switch() -> None:
        with IPRoute() as ip:
            (eth0,) = ip.link_lookup(ifname="eth0")
            ip.link("set", index=eth0, state=state)

    stage.world.machine.inside(guest.namespace, switch)
