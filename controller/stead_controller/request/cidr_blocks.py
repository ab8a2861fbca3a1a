"""Address blocks that VPCs, subnets and routes may have. Pure.

Sizes and restrictions are those of https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html and
https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html. A block is stored in its canonical form: host
bits are cleared, as EC2 does.
"""

import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from stead_controller.errors import AlreadyExists, InvalidParameter

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RESERVED_ADDRESSES: Final = 5
"""The number of addresses of each subnet that are reserved: the first four and the last."""

VPC_IPV6_PREFIX: Final = 56
SUBNET_IPV6_PREFIX: Final = 64
_IPV4_PREFIXES: Final = range(16, 29)
_BLOCK: Final = re.compile(r"[0-9a-fA-F:.]+/[0-9]{1,3}\Z")

_RFC_1918: Final = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_SERVICE_RANGE: Final = ipaddress.IPv4Network("198.19.0.0/16")
# Not allowed in a VPC: this network, loopback, link-local, multicast and reserved addresses.
_NEVER: Final = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
# A VPC with a block in the first range may not get further blocks from the second.
_RESTRICTED: Final = tuple(
    (ipaddress.IPv4Network(existing), ipaddress.IPv4Network(refused))
    for existing, refused in (
        ("10.0.0.0/15", "10.0.0.0/16"),
        ("172.16.0.0/12", "172.31.0.0/16"),
    )
)


def ipv4(text: str, parameter: str) -> ipaddress.IPv4Network:
    """Parse an IPv4 block with its prefix length; raises InvalidParameter, which names the parameter as EC2 does."""
    return ipaddress.IPv4Network(_checked(text, 4, parameter), strict=False)


def ipv6(text: str, parameter: str) -> ipaddress.IPv6Network:
    """Parse an IPv6 block with its prefix length; raises InvalidParameter, which names the parameter as EC2 does."""
    return ipaddress.IPv6Network(_checked(text, 6, parameter), strict=False)


def _checked(text: str, version: int, parameter: str) -> str:
    try:
        if _BLOCK.match(text) and ipaddress.ip_interface(text).version == version:
            return text
    except ValueError:
        pass  # reported below, in EC2's words
    raise InvalidParameter(f"Value ({text[:80]}) for parameter {parameter} is invalid. This is not a valid CIDR block.")


def vpc_block(text: str) -> ipaddress.IPv4Network:
    """Parse the IPv4 block of a VPC: /16 to /28 of unicast addresses; raises InvalidParameter."""
    block = ipv4(text, "cidrBlock")
    if block.prefixlen not in _IPV4_PREFIXES or any(block.overlaps(never) for never in _NEVER):
        raise InvalidParameter(f"The CIDR '{block}' is invalid.", code="InvalidVpc.Range")
    return block


def check_further_block(block: ipaddress.IPv4Network, existing: Sequence[ipaddress.IPv4Network]) -> None:
    """Refuse a further block of a VPC that overlaps its blocks or may not be combined with them.

    Raises InvalidParameter (InvalidVpc.Range).
    """
    for other in existing:
        if block.overlaps(other):
            raise InvalidParameter(
                f"The CIDR '{block}' conflicts with the CIDR '{other}' of the VPC.", code="InvalidVpc.Range"
            )
    private = _range_of(block)
    strange = private is not None and private not in {_range_of(other) for other in existing}
    if strange or any(
        block.overlaps(refused) and any(other.overlaps(here) for other in existing) for here, refused in _RESTRICTED
    ):
        raise InvalidParameter(
            f"The CIDR '{block}' is restricted. Use a CIDR from the same private address range as the current VPC "
            "CIDR, or use a publicly-routable CIDR.",
            code="InvalidVpc.Range",
        )


def _range_of(block: ipaddress.IPv4Network) -> ipaddress.IPv4Network | None:
    """Return the private range or the range of AWS's services that a block is in; None for all other addresses."""
    for candidate in (*_RFC_1918, _SERVICE_RANGE):
        if block.overlaps(candidate):
            return candidate
    return None


def subnet_block(text: str, vpc_blocks: Iterable[str], taken: Iterable[str]) -> ipaddress.IPv4Network:
    """Parse the block of a new subnet: /16 to /28 within one block of the VPC, which overlaps no other subnet.

    Raises InvalidParameter (also as InvalidSubnet.Range), AlreadyExists (InvalidSubnet.Conflict).
    """
    block = ipv4(text, "cidrBlock")
    if block.prefixlen not in _IPV4_PREFIXES or not is_within(block, vpc_blocks):
        raise InvalidParameter(f"The CIDR '{block}' is invalid.", code="InvalidSubnet.Range")
    _refuse_overlap(block, taken)
    return block


def subnet_ipv6_block(text: str, vpc_blocks: Iterable[str], taken: Iterable[str]) -> ipaddress.IPv6Network:
    """Parse the IPv6 block of a subnet: a /64 within one IPv6 block of the VPC, which no other subnet has.

    Raises InvalidParameter (also as InvalidSubnet.Range), AlreadyExists (InvalidSubnet.Conflict).
    """
    block = ipv6(text, "ipv6CidrBlock")
    if block.prefixlen != SUBNET_IPV6_PREFIX or not is_within(block, vpc_blocks):
        raise InvalidParameter(f"The CIDR '{block}' is invalid.", code="InvalidSubnet.Range")
    _refuse_overlap(block, taken)
    return block


def _refuse_overlap(block: Network, taken: Iterable[str]) -> None:
    if any(overlaps(block, other) for other in taken):
        kind = "IPv6 CIDR" if block.version == 6 else "CIDR"
        raise AlreadyExists("subnet", f"The {kind} '{block}' conflicts with another subnet")


def overlaps(block: Network, other: str) -> bool:
    """Return whether two blocks have an address in common; blocks of different families never have."""
    network = ipaddress.ip_network(other)
    return block.version == network.version and block.overlaps(network)


def is_within(block: Network, blocks: Iterable[str]) -> bool:
    """Return whether all addresses of a block are in one of the other blocks."""
    for text in blocks:
        network = ipaddress.ip_network(text)
        if isinstance(network, ipaddress.IPv4Network) and isinstance(block, ipaddress.IPv4Network):
            if block.subnet_of(network):
                return True
        elif (
            isinstance(network, ipaddress.IPv6Network)
            and isinstance(block, ipaddress.IPv6Network)
            and block.subnet_of(network)
        ):
            return True
    return False


def free_block(vpc_block: str, prefix: int, taken: Iterable[str]) -> ipaddress.IPv4Network | None:
    """Return the first block of this length in a VPC's block that overlaps none of those in use; None if full."""
    used = [ipaddress.IPv4Network(one) for one in taken]
    network = ipaddress.IPv4Network(vpc_block)
    if prefix < network.prefixlen:
        return None
    blocks = network.subnets(new_prefix=prefix)
    return next((block for block in blocks if not any(block.overlaps(one) for one in used)), None)


def random_ipv6_block(pool: str) -> ipaddress.IPv6Network:
    """Choose a random block for a VPC from the cloud's pool."""
    network = ipaddress.IPv6Network(pool)
    number = secrets.randbelow(1 << (VPC_IPV6_PREFIX - network.prefixlen))
    return ipaddress.IPv6Network((int(network.network_address) + (number << (128 - VPC_IPV6_PREFIX)), VPC_IPV6_PREFIX))


def capacity(cidr_block: str) -> int:
    """Return how many addresses of a subnet can be assigned to interfaces."""
    return ipaddress.IPv4Network(cidr_block).num_addresses - RESERVED_ADDRESSES
