"""Convert an interface without a machine into the kernel objects of a namespace plugged into a subnet: pure."""

from ipaddress import IPv4Network
from typing import Final

from stead_agent.network.desired_objects import vpc_alias
from stead_agent.network.interface import (
    GATEWAY_MAC,
    LocalInterface,
    Subnet,
    VpcNetwork,
    bridge_name,
    gateway_address,
    tap_name,
)
from stead_agent.network.kernel_objects import Address, KernelObject, Neighbour, Place, Route, Setting, Up, Veth

LINK: Final = "eth0"


def link_objects(vpc: VpcNetwork, name: str, interface: LocalInterface, subnet: Subnet) -> list[KernelObject]:
    """Return the link, address and default route of the named namespace, which is `Place.VPC` here."""
    tap, router = tap_name(interface.id), gateway_address(subnet.cidr)
    return [
        Veth(
            tap, vpc_alias(vpc.vpc_id, name), vpc.mtu, "", bridge_name(subnet.id), LINK, interface.mac,
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


def base_settings(*, forwards: bool) -> list[KernelObject]:
    """Return the settings that decide whether the namespace routes for others; it has no IPv6."""
    found: list[KernelObject] = [Setting(Place.VPC, "net/ipv4/ip_forward", str(int(forwards)))]
    for scope in ("all", "default"):
        found += [
            Setting(Place.VPC, f"net/ipv4/conf/{scope}/rp_filter", "0"),
            Setting(Place.VPC, f"net/ipv4/conf/{scope}/send_redirects", "0"),
            Setting(Place.VPC, f"net/ipv4/conf/{scope}/accept_redirects", "0"),
            Setting(Place.VPC, f"net/ipv6/conf/{scope}/disable_ipv6", "1"),
        ]
    return found
