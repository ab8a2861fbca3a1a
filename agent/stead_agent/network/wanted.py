"""What the kernel should have of a VPC, kept so that a small change among thousands of addresses costs little: pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from stead_agent.network.interface import HostPaths, VpcNetwork
from stead_agent.network.overlay import remote_route, remote_routes, whereabouts
from stead_agent.network.picture import vpc_things
from stead_agent.network.plan import Step, plan
from stead_agent.network.things import Thing, Vxlan


@dataclass(frozen=True, slots=True)
class Wanted:
    """All of a VPC's objects: a few hundred, and apart from them where the addresses on other hosts are."""

    things: list[Thing]
    where: Mapping[str, str]  # address -> underlay address of its host

    def everything(self) -> list[Thing]:
        """List all objects."""
        return [*self.things, *remote_routes(self.where)]


def wanted_of(vpc: VpcNetwork, paths: HostPaths, inner_address: str, peers: Mapping[str, int] | None = None) -> Wanted:
    """Convert a VPC's picture; `peers` are those that can be joined now."""
    return Wanted(vpc_things(vpc, paths, inner_address, peers), whereabouts(vpc, paths))


def steps_between(old: Wanted, new: Wanted) -> list[Step]:
    """List the steps from the one to the other; of the addresses elsewhere, only those that changed are looked at."""
    devices = [[thing for thing in it.things if isinstance(thing, Vxlan)] for it in (old, new)]
    if devices[0] != devices[1]:
        return plan(old.everything(), new.everything())
    before, after = old.things, new.things
    if old.where != new.where:
        gone, come = old.where.items() - new.where.items(), new.where.items() - old.where.items()
        before = [*before, *(remote_route(address, host) for address, host in sorted(gone))]
        after = [*after, *(remote_route(address, host) for address, host in sorted(come))]
    return plan(before, after)
