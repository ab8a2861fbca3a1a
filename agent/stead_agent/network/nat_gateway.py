"""Convert a NAT gateway into the kernel objects and the nft table of its namespace: pure.

It is a guest without a machine: a namespace with one link, plugged into its subnet by the interface's tap name, that
routes for others and hides them behind its own private address. The public address of a public gateway is its
interface's, as any other's. https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from stead_agent.network.interface import (
    GATEWAY_MAC,
    LocalInterface,
    NatGateway,
    Subnet,
    VpcNetwork,
    bridge_name,
    gateway_address,
    tap_name,
)
from stead_agent.network.picture import vpc_alias
from stead_agent.network.things import Address, Neighbour, Place, Route, Setting, Thing, Up, Veth

LINK: Final = "eth0"
IDLE_SECONDS: Final = 350
_TIMEOUTS: Final = ("tcp_timeout_established", "udp_timeout", "udp_timeout_stream", "icmp_timeout", "generic_timeout")


def gateways_of(vpc: VpcNetwork) -> dict[str, tuple[LocalInterface, Subnet]]:
    """Find the interface and the subnet of each NAT gateway on this host; one without is not made yet."""
    interfaces = {interface.id: interface for interface in vpc.interfaces}
    subnets = {subnet.id: subnet for subnet in vpc.subnets}
    return {
        gateway.id: (interface, subnets[interface.subnet_id])
        for gateway in vpc.nat_gateways
        if (interface := interfaces.get(gateway.interface_id)) and interface.subnet_id in subnets
    }


def alias_of(vpc_id: str, gateway_id: str) -> str:
    """Say in the alias of a gateway's link to whom it belongs; `gateway_of` reads it."""
    return vpc_alias(vpc_id, gateway_id)


def gateway_of(alias: str) -> str | None:
    """Tell the NAT gateway of a link by its alias, or None when it is no gateway's."""
    last = alias.rpartition(" ")[2]
    return last if last.startswith("nat-") else None


def gateway_things(vpc: VpcNetwork, gateway: NatGateway, interface: LocalInterface, subnet: Subnet) -> list[Thing]:
    """Make its link, address and way out; `Place.VPC` is the gateway's own namespace here."""
    tap, router = tap_name(interface.id), gateway_address(subnet.cidr)
    return [
        *_settings(),
        Veth(
            tap, alias_of(vpc.vpc_id, gateway.id), vpc.mtu, "", bridge_name(subnet.id), LINK, interface.mac,
            is_isolated=True,
        ),
        Setting(Place.HOST, f"net/ipv6/conf/{tap}/disable_ipv6", "1", tap),
        *(
            Address(Place.VPC, LINK, f"{address}/{IPv4Network(subnet.cidr).prefixlen}")
            for address in interface.addresses[:1]
        ),
        Up(Place.HOST, tap),
        Up(Place.VPC, LINK),
        Neighbour(Place.VPC, LINK, router, GATEWAY_MAC),
        Route(Place.VPC, "0.0.0.0/0", LINK, router),
    ]  # fmt: skip


def _settings() -> Iterator[Setting]:
    yield Setting(Place.VPC, "net/ipv4/ip_forward", "1")
    for scope in ("all", "default"):
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/rp_filter", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/send_redirects", "0")
        yield Setting(Place.VPC, f"net/ipv4/conf/{scope}/accept_redirects", "0")
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/disable_ipv6", "1")
    for name in _TIMEOUTS:
        yield Setting(Place.VPC, f"net/netfilter/nf_conntrack_{name}", str(IDLE_SECONDS))


def ruleset(vpc: VpcNetwork, interface: LocalInterface) -> str:
    """Write its table, to replace the one before in one transaction: flows that are tracked go on."""
    own = IPv4Address(interface.addresses[0])
    inside = ", ".join(str(IPv4Network(block)) for block in vpc.cidrs)
    return f"""
        add table ip stead
        delete table ip stead
        table ip stead {{
          comment "A NAT gateway."
          chain forward {{
            type filter hook forward priority filter; policy drop;
            ct state established,related accept comment "flows begun from inside"
            ip saddr != {{ {inside} }} drop comment "nobody else may begin"
            ct state new tcp flags & (fin | syn | rst | ack) != syn reject with tcp reset comment "forgotten when idle"
            ct state new accept comment "from inside"
          }}
          chain input {{
            type filter hook input priority filter; policy drop;
            ct state established,related accept comment "nobody begins with the gateway itself"
          }}
          chain hidden {{
            type nat hook postrouting priority srcnat; policy accept;
            ip saddr {{ {inside} }} snat to {own} comment "whoever it is, behind the gateway's own address"
          }}
        }}
    """
