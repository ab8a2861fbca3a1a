"""Read the links and the route that one interface's packets use from the kernel, for a person who debugs."""

import errno
import socket
from collections.abc import Iterator
from typing import Any, Final

from stead_agent.findings import Finding, Path
from stead_agent.network.interface import bridge_name, subnet_link_name, tap_name
from stead_agent.network.namespaces import Namespaces
from stead_agent.network.routing_sockets import IPRoute, NetlinkError

_NO_ROUTE: Final = {
    errno.ENETUNREACH: "no route table has a route there",
    errno.EHOSTUNREACH: "no interface of the VPC has this address on any host, or its host is not known here",
    errno.EINVAL: "the route is a black hole: its target is gone or detached",
    errno.EACCES: "the route is prohibited",
}
_RTN_LOCAL: Final = 2  # rtnetlink(7)


def look(namespaces: Namespaces, path: Path) -> list[Finding]:
    """List the links on the way, then the kernel's route for a packet; the first that is not ok decides."""
    found = list(namespaces.inside(None, lambda: list(_host_links(path))))
    if not namespaces.exists(path.vpc_id):
        return [*found, Finding("vpc", path.vpc_id, ok=False, detail="it has no namespace on this host")]
    return found + namespaces.inside(path.vpc_id, lambda: list(_routes(path)))


def _host_links(path: Path) -> Iterator[Finding]:
    with IPRoute() as netlink:
        tap, bridge = tap_name(path.interface_id), bridge_name(path.subnet_id)
        tap_link, bridge_link = _link(netlink, tap), _link(netlink, bridge)
        if tap_link is None:
            yield Finding("tap", path.interface_id, ok=False, detail=f"{tap} is not there: does the instance run?")
        else:
            is_up = bool(tap_link["flags"] & 1)
            joined = bridge_link is not None and tap_link.get_attr("IFLA_MASTER") == bridge_link["index"]
            words = f"{tap} is {'up' if is_up else 'down'} and {'in' if joined else 'not in'} {bridge}"
            yield Finding("tap", path.interface_id, ok=is_up and joined, detail=words)
        if bridge_link is None:
            yield Finding("bridge", path.subnet_id, ok=False, detail=f"{bridge} is not there")


def _routes(path: Path) -> Iterator[Finding]:
    gateway = subnet_link_name(path.subnet_id)
    with IPRoute() as netlink:
        link = _link(netlink, gateway)
        if link is None:
            yield Finding("gateway", path.subnet_id, ok=False, detail=f"{gateway} is not in the VPC's namespace")
            return
        yield Finding("gateway", path.subnet_id, ok=bool(link["flags"] & 1), detail=f"{gateway} leads to its guests")
        yield _route(netlink, path, link["index"])


def _route(netlink: Any, path: Path, gateway: int) -> Finding:
    """Look up the kernel's route for a packet that comes from the interface (RTM_GETROUTE with an input link)."""
    family = socket.AF_INET6 if ":" in path.to_address else socket.AF_INET
    try:
        (answer, *_) = netlink.route("get", family=family, dst=path.to_address, src=path.from_address, iif=gateway)
    except NetlinkError as error:
        why = _NO_ROUTE.get(error.code, str(error))
        return Finding("route", path.vpc_id, ok=False, detail=f"{path.to_address}: {why}")
    if answer["type"] == _RTN_LOCAL:
        return Finding("route", path.vpc_id, ok=True, detail=f"{path.to_address} is a service of the VPC itself")
    (out,) = netlink.get_links(answer.get_attr("RTA_OIF"))
    via = answer.get_attr("RTA_GATEWAY")
    words = f"{path.to_address} goes out by {out.get_attr('IFLA_IFNAME')}{f' to {via}' if via else ''}"
    return Finding("route", path.vpc_id, ok=True, detail=words)


def _link(netlink: Any, name: str) -> Any | None:
    indexes = netlink.link_lookup(ifname=name)
    return netlink.get_links(indexes[0])[0] if indexes else None
