"""Read the links and the route that one interface's packets use from the kernel, for a person who debugs."""

import errno
import socket
from collections.abc import Iterator
from typing import Final

from stead_agent.findings import Finding, Path
from stead_agent.network.interface import bridge_name, subnet_link_name, tap_name
from stead_agent.network.kernel_changes import MASTER, RTA_GATEWAY, RTA_OIF, RoutingSocket, index_of, is_on
from stead_agent.network.namespaces import Namespaces

_NO_ROUTE: Final = {
    errno.ENETUNREACH: "no route table has a route there",
    errno.EHOSTUNREACH: "no interface of the VPC has this address on any host, or its host is not known here",
    errno.EINVAL: "the route is a black hole: its target is gone or detached",
    errno.EACCES: "the route is prohibited",
}
_RTN_LOCAL: Final = 2  # rtnetlink(7)
_RTM_TYPE: Final = 7  # which field of struct rtmsg


def look(namespaces: Namespaces, path: Path) -> list[Finding]:
    """List the links on the way, then the kernel's route for a packet; the first that is not ok decides."""
    found = list(namespaces.inside(None, lambda: list(_host_links(path))))
    if not namespaces.exists(path.vpc_id):
        return [*found, Finding("vpc", path.vpc_id, ok=False, detail="it has no namespace on this host")]
    return found + namespaces.inside(path.vpc_id, lambda: list(_routes(path)))


def _host_links(path: Path) -> Iterator[Finding]:
    with RoutingSocket() as netlink:
        tap, bridge = tap_name(path.interface_id), bridge_name(path.subnet_id)
        tap_link, bridge_link = netlink.named(tap), netlink.named(bridge)
        if tap_link is None:
            yield Finding("tap", path.interface_id, ok=False, detail=f"{tap} is not there: does the instance run?")
        else:
            is_up = is_on(tap_link)
            joined = bridge_link is not None and tap_link.number(MASTER) == index_of(bridge_link)
            words = f"{tap} is {'up' if is_up else 'down'} and {'in' if joined else 'not in'} {bridge}"
            yield Finding("tap", path.interface_id, ok=is_up and joined, detail=words)
        if bridge_link is None:
            yield Finding("bridge", path.subnet_id, ok=False, detail=f"{bridge} is not there")


def _routes(path: Path) -> Iterator[Finding]:
    gateway = subnet_link_name(path.subnet_id)
    with RoutingSocket() as netlink:
        link = netlink.named(gateway)
        if link is None:
            yield Finding("gateway", path.subnet_id, ok=False, detail=f"{gateway} is not in the VPC's namespace")
            return
        yield Finding("gateway", path.subnet_id, ok=is_on(link), detail=f"{gateway} leads to its guests")
        yield _route(netlink, path, index_of(link))


def _route(netlink: RoutingSocket, path: Path, gateway: int) -> Finding:
    """Look up the kernel's route for a packet that comes from the interface (RTM_GETROUTE with an input link)."""
    try:
        answer = netlink.way(path.to_address, path.from_address, gateway)
    except OSError as error:
        why = _NO_ROUTE.get(error.errno or 0, str(error))
        return Finding("route", path.vpc_id, ok=False, detail=f"{path.to_address}: {why}")
    if answer.fields[_RTM_TYPE] == _RTN_LOCAL:
        return Finding("route", path.vpc_id, ok=True, detail=f"{path.to_address} is a service of the VPC itself")
    out = socket.if_indextoname(answer.number(RTA_OIF))
    via = answer.address(RTA_GATEWAY)
    words = f"{path.to_address} goes out by {out}{f' to {via}' if via else ''}"
    return Finding("route", path.vpc_id, ok=True, detail=words)
