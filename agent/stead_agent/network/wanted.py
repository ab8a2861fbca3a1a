"""The desired kernel objects of a VPC, stored so that a small change among thousands of addresses is cheap: pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from stead_agent.network.desired_objects import vpc_objects
from stead_agent.network.interface import HostPaths, VpcNetwork
from stead_agent.network.kernel_objects import KernelObject, Vxlan
from stead_agent.network.overlay import Whereabouts, remote_route, remote_routes, whereabouts
from stead_agent.network.plan import Step, plan


@dataclass(frozen=True, slots=True)
class Wanted:
    """All of a VPC's objects: a few hundred, and separately the hosts of addresses on other hosts."""

    objects: list[KernelObject]
    where: Whereabouts

    def everything(self) -> list[KernelObject]:
        """List all objects."""
        return [*self.objects, *remote_routes(self.where.hosts)]


def wanted_of(
    vpc: VpcNetwork,
    paths: HostPaths,
    inner_address: str,
    peers: Mapping[str, int] | None = None,
    before: Wanted | None = None,
) -> Wanted:
    """Convert a VPC's desired state; `peers` are those that can be joined now, `before` makes it cheap."""
    where = whereabouts(vpc, paths, before.where if before else None)
    return Wanted(vpc_objects(vpc, paths, inner_address, peers), where)


def steps_between(old: Wanted, new: Wanted) -> list[Step]:
    """List the steps from `old` to `new`; of the remote addresses, only those that changed are processed."""
    devices = [[obj for obj in it.objects if isinstance(obj, Vxlan)] for it in (old, new)]
    if devices[0] != devices[1]:
        return plan(old.everything(), new.everything())
    gone, come = new.where.since(old.where)
    before = [*old.objects, *(remote_route(address, host) for address, host in sorted(gone.items()))]
    after = [*new.objects, *(remote_route(address, host) for address, host in sorted(come.items()))]
    return plan(before, after)
