"""Find guests' taps, made by libvirt, that were switched off, unplugged, or lost their isolation or limits: pure."""

from collections.abc import Iterable, Iterator, Mapping

from stead_agent.network.bandwidth import shapers_of
from stead_agent.network.interface import VpcNetwork, bridge_name, tap_name
from stead_agent.network.kernel_objects import Tap
from stead_agent.network.plan import Change
from stead_agent.network.readings import Link


def damaged(vpc: VpcNetwork, links: Iterable[Link], redirects: Mapping[int, tuple[int, int]]) -> Iterator[Change]:
    """Return the changes that repair a VPC's taps; one that does not exist is created by `machines`.

    `redirects` has the indexes of the shapers to and from each tap's guest, by the tap's index.
    """
    names = {link.index: link.name for link in links} | {0: ""}
    by_name = {link.name: link for link in links}
    # Their pairs are created and compared with all other objects.
    ours = {gateway.interface_id for gateway in vpc.nat_gateways} | vpc.endpoint_interfaces
    for interface in vpc.interfaces:
        link = by_name.get(tap_name(interface.id))
        bridge = bridge_name(interface.subnet_id)
        if link is None or interface.id in ours or bridge not in by_name:
            continue
        into, out_of = (names.get(index, "gone") for index in redirects.get(link.index, (0, 0)))
        found = Tap(link.name, names.get(link.master, ""), link.mtu, link.is_isolated, link.is_up, into, out_of)
        shapers = shapers_of(interface)
        if shapers[0] and not by_name.keys() >= set(shapers):  # another VPC's, which is not repaired yet
            shapers = (into, out_of)
        into, out_of = shapers
        wanted = Tap(link.name, bridge, vpc.mtu, is_isolated=True, is_up=True, into=into, out_of=out_of)
        if found != wanted:
            yield Change(found, wanted)
