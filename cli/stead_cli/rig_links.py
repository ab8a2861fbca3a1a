"""The network links of a rig, by pyroute2: two bridges, a veth pair for each host on each, and two for the caller.

All but the caller's ends is inside the rig's own places. No packet can leave the rig: the internet's place has no
default route, and forwards only answers to the caller.
"""

import errno
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from stead_cli.errors import CliError
from stead_cli.rig_places import Namespace, RigPlace, inside
from stead_cli.rig_plan import (
    CALLER_IPV6_ADDRESS,
    FAR_ADDRESSES,
    FAR_IPV6_ADDRESS,
    INTERNET,
    IPV6_GATEWAY,
    IPV6_INTERNET,
    IPV6_POOL,
    UNDERLAY,
    UPLINK,
    RigPlan,
)
from stead_cli.waiting import wait_for

_CALLER: Final = "caller"  # the two places' ends of the caller's links
_SCOPE_LINK: Final = 253
_ONLINK: Final = 4  # linux/rtnetlink.h, RTNH_F_ONLINK
_MAIN_TABLE: Final = 254
_NO_DAD: Final = 2  # linux/if_addr.h, IFA_F_NODAD
_GONE_SECONDS: Final = 15.0  # the kernel removes the links of an ended place asynchronously

# Packets from the rig reach the caller only as answers.
INTERNET_RULES: Final = f"""
destroy table inet rig
table inet rig {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname "{_CALLER}" ct state established,related accept
    oifname "{_CALLER}" drop
  }}
}}
"""

# From the internet, guests can reach only the AWS APIs, at the one address meant for them.
API_RULES: Final = """
destroy table inet rig
table inet rig {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "{link}" ip daddr {address} tcp dport {{ {ports} }} accept
    iifname "{link}" ct state established,related accept
    iifname "{link}" drop
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a veth pair: its namespace, its name, and its configuration."""

    namespace: int  # a file descriptor
    name: str
    addresses: tuple[str, ...] = ()  # with their prefix lengths
    master: str = ""
    routes: tuple[dict[str, Any], ...] = field(default=())
    has_ipv6: bool = False


def wire_underlay(plan: RigPlan, place: RigPlace) -> None:
    """Make the bridge between hosts and controller, and the caller's link to the controller."""
    with place.held() as holder, Namespace(holder.pid) as inner, Namespace() as caller:
        inside(inner.file, lambda: _settle(forwarding=False))
        _make_bridge(inner.file, UNDERLAY, plan.mtu, [f"{plan.controller_address}/{plan.underlay.prefixlen}"])
        here, there = plan.caller_underlay_address, plan.controller_address
        to_controller: dict[str, Any] = {"dst": f"{there}/32", "scope": _SCOPE_LINK}
        _make_pair(
            End(caller.file, plan.controller_link, (f"{here}/32",), routes=(to_controller,)),
            End(inner.file, _CALLER, routes=({"dst": f"{here}/32", "scope": _SCOPE_LINK},)),
            1500,
        )


def wire_internet(plan: RigPlan, place: RigPlace) -> None:
    """Make the bridge that simulates the internet, some remote addresses, and the caller's link to it."""
    with place.held() as holder, Namespace(holder.pid) as inner, Namespace() as caller:
        inside(inner.file, lambda: _settle(forwarding=True))
        _apply_rules(place, INTERNET_RULES)
        addresses = [f"{plan.gateway}/{plan.internet.prefixlen}", f"{IPV6_GATEWAY}/64", f"{IPV6_INTERNET[1]}/64"]
        _make_bridge(inner.file, INTERNET, 1500, addresses)
        far = [*(f"{address}/32" for address in FAR_ADDRESSES), f"{FAR_IPV6_ADDRESS}/128"]
        inside(inner.file, lambda: _add_addresses("lo", far))
        inside(inner.file, lambda: _add_routes(INTERNET, ({"dst": IPV6_POOL, "family": socket.AF_INET6},)))
        here = plan.caller_internet_address
        _make_pair(
            End(
                caller.file,
                plan.internet_link,
                (f"{here}/32", f"{CALLER_IPV6_ADDRESS}/128"),
                routes=tuple(
                    {"dst": destination, "flags": _ONLINK, **_by_way_of(destination, plan)}
                    for destination in (str(plan.internet), str(IPV6_INTERNET), IPV6_POOL, *far)
                ),
                has_ipv6=True,
            ),
            End(
                inner.file,
                _CALLER,
                (f"{IPV6_GATEWAY}/64",),
                routes=(
                    {"dst": f"{here}/32", "scope": _SCOPE_LINK},
                    {"dst": f"{CALLER_IPV6_ADDRESS}/128", "family": socket.AF_INET6},
                ),
                has_ipv6=True,
            ),
            1500,
        )


def wire_controller(plan: RigPlan, underlay: RigPlace, internet: RigPlace) -> None:
    """Connect the controller to the internet, for guests; only the AWS APIs can be reached there."""
    with (
        underlay.held() as below,
        internet.held() as above,
        Namespace(below.pid) as lower,
        Namespace(above.pid) as upper,
    ):
        ports = f"{plan.cloud.http_port}, {plan.cloud.https_port}"
        _apply_rules(underlay, API_RULES.format(link=INTERNET, address=plan.api_address, ports=ports))
        _make_pair(
            End(lower.file, INTERNET, (f"{plan.api_address}/{plan.internet.prefixlen}",)),
            End(upper.file, UNDERLAY, master=INTERNET),
            1500,
        )


def _apply_rules(place: RigPlace, rules: str) -> None:
    done = place.run("nft", "-f", "-", stdin=rules)
    if done.returncode != 0:
        raise CliError(f"rules were refused in {place.name}: {done.stderr.strip()}", "is nftables installed?")


def _by_way_of(destination: str, plan: RigPlan) -> dict[str, Any]:
    if ":" in destination:
        return {"family": socket.AF_INET6, "gateway": IPV6_GATEWAY}
    return {"gateway": str(plan.gateway)}


def wire_host(plan: RigPlan, number: int, host: RigPlace, underlay: RigPlace, internet: RigPlace) -> None:
    """Connect a host to both bridges; its default route is the internet's gateway."""
    with (
        host.held() as holder,
        underlay.held() as below,
        internet.held() as above,
        Namespace(holder.pid) as inner,
        Namespace(below.pid) as lower,
        Namespace(above.pid) as upper,
    ):
        inside(inner.file, lambda: _settle(forwarding=False))
        address = plan.host_underlay_address(number)
        _make_pair(
            End(inner.file, UNDERLAY, (f"{address}/{plan.underlay.prefixlen}",)),
            End(lower.file, host.name, master=UNDERLAY),
            plan.mtu,
        )
        defaults = (
            {"dst": "default", "gateway": str(plan.gateway)},
            {"dst": "default", "gateway": IPV6_GATEWAY, "family": socket.AF_INET6},
        )
        addresses = (
            f"{plan.host_uplink_address(number)}/{plan.internet.prefixlen}",
            f"{plan.host_ipv6_address(number)}/{IPV6_INTERNET.prefixlen}",
        )
        _make_pair(
            End(inner.file, UPLINK, addresses, routes=defaults, has_ipv6=True),
            End(upper.file, host.name, master=INTERNET),
            1500,
        )


def check_ways(plan: RigPlan) -> None:
    """Raise CliError if this machine has another way to a part of the rig's addresses, which would be out of reach.

    A cloud with public addresses of the same network makes such a way, or another rig.
    """
    own = {plan.controller_link, plan.internet_link}
    wanted = [plan.internet, IPv4Network(f"{plan.controller_address}/32")]
    with IPRoute() as netlink:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in netlink.get_links()}
        for route in netlink.get_routes(family=socket.AF_INET, table=_MAIN_TABLE):
            block = IPv4Network(f"{route.get_attr('RTA_DST') or '0.0.0.0'}/{route['dst_len']}")
            link = names.get(route.get_attr("RTA_OIF"), "")
            if link not in own and any(block.subnet_of(each) for each in wanted):
                where = f"leads to {link}" if link else "leads nowhere"
                raise CliError(
                    f"a rig with the network {plan.network} could not be reached: {block} {where} on this machine",
                    "choose another network, such as --network 10.99.0.0/16",
                )


def unplug_caller(plan: RigPlan) -> None:
    """Remove the caller's links, and with them their routes."""
    with IPRoute() as netlink:
        for name in (plan.controller_link, plan.internet_link):
            _delete(netlink, name)


def _settle(*, forwarding: bool) -> None:
    """Set the sysctls that a new namespace may inherit from the machine, and set its loopback up."""
    _set("net/ipv4/ip_forward", str(int(forwarding)))
    for family in ("ip", "ip6", "arp"):
        # Bridged frames must not pass the inet hooks: br_netfilter, if the kernel has it, is on by default.
        _set(f"net/bridge/bridge-nf-call-{family}tables", "0")
    _set("net/ipv6/conf/all/forwarding", str(int(forwarding)))
    if forwarding:
        for scope in ("all", "default"):
            _set(f"net/ipv4/conf/{scope}/rp_filter", "0")
    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")


def _set(path: str, value: str) -> None:
    """Set a sysctl that has another value; that of all links would else undo what the agent set for one of them."""
    file = Path("/proc/sys") / path
    if file.exists() and file.read_text(encoding="ascii").strip() != value:
        file.write_text(value, encoding="ascii")


def _make_bridge(namespace: int, name: str, mtu: int, addresses: list[str]) -> None:
    def work() -> None:
        with IPRoute() as netlink:
            if not netlink.link_lookup(ifname=name):
                netlink.link("add", ifname=name, kind="bridge", mtu=mtu, br_mcast_snooping=0)
            netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")
        _add_addresses(name, addresses)

    inside(namespace, work)


def _add_addresses(link: str, addresses: list[str]) -> None:
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=link)[0]
        for address in addresses:
            host, _, length = address.partition("/")
            kind: dict[str, Any] = {"family": socket.AF_INET6, "flags": _NO_DAD} if ":" in host else {}
            netlink.addr("replace", index=index, address=host, prefixlen=int(length), **kind)


def _add_routes(link: str, routes: tuple[dict[str, Any], ...]) -> None:
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=link)[0]
        for route in routes:
            netlink.route("replace", oif=index, **route)


def _make_pair(first: End, second: End, mtu: int) -> None:
    """Make a veth pair unless both ends exist, and configure each end."""
    ends = (first, second)
    if not all(inside(end.namespace, lambda end=end: _exists(end.name)) for end in ends):  # type: ignore[misc] # mypy cannot infer a lambda with a default
        for end in ends:
            # Left by a `rig up` that was killed, or the other end was in a place that has ended.
            wait_for(
                lambda end=end: inside(end.namespace, lambda: _vanishes(end.name)),  # type: ignore[misc] # as above
                _GONE_SECONDS,
                lambda: CliError(f"the link {first.name} of before does not go away", "try again"),
            )
        inside(first.namespace, lambda: _add_pair(first, second, mtu))
    for end in ends:
        inside(end.namespace, lambda end=end: _configure(end))  # type: ignore[misc] # as above


def _exists(name: str) -> bool:
    with IPRoute() as netlink:
        return bool(netlink.link_lookup(ifname=name))


def _vanishes(name: str) -> bool:
    with IPRoute() as netlink:
        _delete(netlink, name)
        return not netlink.link_lookup(ifname=name)


def _delete(netlink: Any, name: str) -> None:
    for index in netlink.link_lookup(ifname=name):
        try:
            netlink.link("del", index=index)
        except NetlinkError as error:
            if error.code != errno.ENODEV:  # it is already gone
                raise


def _add_pair(first: End, second: End, mtu: int) -> None:
    peer = {"ifname": second.name, "mtu": mtu, "net_ns_fd": second.namespace}
    with IPRoute() as netlink:
        netlink.link("add", ifname=first.name, kind="veth", mtu=mtu, peer=peer)


def _configure(end: End) -> None:
    """Give a link its bridge, addresses and routes, and set it up; by default IPv6 would send packets by itself."""
    _set(f"net/ipv6/conf/{end.name}/accept_ra", "0")
    _set(f"net/ipv6/conf/{end.name}/accept_dad", "0")
    _set(f"net/ipv6/conf/{end.name}/disable_ipv6", str(int(not end.has_ipv6)))
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=end.name)[0]
        if end.master:
            netlink.link("set", index=index, master=netlink.link_lookup(ifname=end.master)[0])
        netlink.link("set", index=index, state="up")
    _add_addresses(end.name, list(end.addresses))
    _add_routes(end.name, end.routes)
