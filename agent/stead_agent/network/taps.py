"""Find guests' taps, made by libvirt, that were switched off, unplugged or lost their isolation: pure."""

from collections.abc import Iterable, Iterator

from stead_agent.network.interface import VpcNetwork, bridge_name, tap_name
from stead_agent.network.kernel_objects import Tap
from stead_agent.network.plan import Change
from stead_agent.network.readings import Link


def damaged(vpc: VpcNetwork, links: Iterable[Link]) -> Iterator[Change]:
    """Return the changes that repair a VPC's taps; one that does not exist is created by `machines`."""
    names = {link.index: link.name for link in links}
    by_name = {link.name: link for link in links}
    # Their pairs are created and compared with all other objects.
    ours = {gateway.interface_id for gateway in vpc.nat_gateways} | vpc.endpoint_interfaces
    for interface in vpc.interfaces:
        link = by_name.get(tap_name(interface.id))
        bridge = bridge_name(interface.subnet_id)
        if link is None or interface.id in ours or bridge not in by_name:
            continue
        found = Tap(link.name, names.get(link.master, ""), link.mtu, link.is_isolated, link.is_up)
        wanted = Tap(link.name, bridge, vpc.mtu, is_isolated=True, is_up=True)
        if found != wanted:
            yield Change(found, wanted)
