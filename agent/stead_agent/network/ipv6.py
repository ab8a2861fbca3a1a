"""Convert a VPC's IPv6 blocks and addresses into kernel objects: pure.

Guests send to the gateway only: they get a single address each (a /128 by DHCPv6), and router advertisements contain no
on-link prefix. The gateway knows their MACs without neighbour discovery.
"""

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from stead_agent.network.interface import (
    GATEWAY_LINK_LOCAL,
    METADATA_IPV6_ADDRESS,
    RESOLVER_IPV6_ADDRESS,
    TIME_IPV6_ADDRESS,
    LocalInterface,
    Subnet,
    VpcNetwork,
    subnet_link_name,
)
from stead_agent.network.kernel_objects import (
    LAST_METRIC,
    Address,
    KernelObject,
    Kind,
    Neighbour,
    Place,
    Route,
    Setting,
)

_LINK_LOCAL: Final = int(IPv6Address("fe80::"))


def link_local_of(mac: str) -> str:
    """Return the link-local address that an interface derives from its MAC (RFC 4291, appendix A)."""
    packed = bytearray.fromhex(mac.replace(":", ""))
    packed[0] ^= 2
    return str(IPv6Address(_LINK_LOCAL | int.from_bytes(packed[:3] + b"\xff\xfe" + packed[3:])))


def namespace_settings(vpc: VpcNetwork) -> Iterator[Setting]:
    """Switch IPv6 on or off; the kernel itself creates and requests no addresses."""
    on = bool(vpc.ipv6_cidrs)
    for scope in ("all", "default"):
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/accept_ra", "0")
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/accept_redirects", "0")
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/accept_dad", "0")
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/forwarding", "1" if on else "0")
        yield Setting(Place.VPC, f"net/ipv6/conf/{scope}/disable_ipv6", "0" if on else "1")
    yield Setting(Place.VPC, "net/ipv6/conf/default/addr_gen_mode", "1")


def own_objects(vpc: VpcNetwork) -> Iterator[KernelObject]:
    """Return the namespace's service addresses, and unreachable routes for unused parts of the VPC's blocks."""
    if vpc.ipv6_cidrs:
        for address in (METADATA_IPV6_ADDRESS, RESOLVER_IPV6_ADDRESS, TIME_IPV6_ADDRESS):
            yield Address(Place.VPC, "lo", f"{address}/128")
        for block in vpc.ipv6_cidrs:
            yield Route(Place.VPC, str(IPv6Network(block)), metric=LAST_METRIC, kind=Kind.UNREACHABLE)


def subnet_objects(vpc: VpcNetwork, subnet: Subnet) -> Iterator[KernelObject]:
    """Return a subnet's gateway address."""
    link = subnet_link_name(subnet.id)
    if vpc.ipv6_cidrs:
        yield Setting(Place.VPC, f"net/ipv6/conf/{link}/addr_gen_mode", "1", link)
        yield Address(Place.VPC, link, f"{GATEWAY_LINK_LOCAL}/64")
        if subnet.ipv6_cidr:
            block = IPv6Network(subnet.ipv6_cidr)
            yield Address(Place.VPC, link, f"{block[1]}/{block.prefixlen}")


def neighbours(vpc: VpcNetwork, interface: LocalInterface) -> Iterator[KernelObject]:
    """Return permanent neighbour entries of an interface's addresses, its link-local address included."""
    if vpc.ipv6_cidrs:
        link = subnet_link_name(interface.subnet_id)
        for address in (*interface.ipv6_addresses, link_local_of(interface.mac)):
            yield Neighbour(Place.VPC, link, str(IPv6Address(address)), interface.mac)
