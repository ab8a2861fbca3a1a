"""A route's destination, as requests name it: an IPv4 block, an IPv6 block or a prefix list. Pure."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from stead_controller.catalog import ids
from stead_controller.errors import InvalidCombination, InvalidParameter, MalformedId, MissingParameter
from stead_controller.request import cidr_blocks
from stead_controller.request.cidr_blocks import Network

IPV4: Final = "ipv4"
IPV6: Final = "ipv6"
PREFIX_LIST: Final = "prefix-list"

# Addresses of the cloud's own services, which no route may redirect
# (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html).
_RESERVED: Final = ("169.254.168.0/22", "fd00:ec2::/32")


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination in canonical form; `family` is ipv4, ipv6 or prefix-list."""

    family: str
    text: str

    @property
    def block(self) -> Network | None:
        """The address block; None for a prefix list."""
        return None if self.family == PREFIX_LIST else ipaddress.ip_network(self.text)


def read(ipv4: str | None, ipv6: str | None, prefix_list_id: str | None) -> Destination:
    """Parse the one destination that a request names.

    Raises MissingParameter, InvalidCombination, InvalidParameter for what is not a block, MalformedId.
    """
    given = [value for value in (ipv4, ipv6, prefix_list_id) if value is not None]
    if not given:
        raise MissingParameter("destinationCidrBlock or destinationIpv6CidrBlock or destinationPrefixListId")
    if len(given) > 1:
        raise InvalidCombination("The request must contain exactly one destination of the route")
    if prefix_list_id is not None:
        if not ids.is_id("prefix-list", prefix_list_id):
            raise MalformedId("prefix-list", prefix_list_id)
        return Destination(PREFIX_LIST, prefix_list_id)
    if ipv6 is not None:
        return Destination(IPV6, str(cidr_blocks.ipv6(ipv6, "destinationIpv6CidrBlock")))
    return Destination(IPV4, str(cidr_blocks.ipv4(ipv4 or "", "destinationCidrBlock")))


def refuse_reserved(destination: Destination) -> None:
    """Raise InvalidParameter for a destination within the addresses of the cloud's own services."""
    block = destination.block
    if block is not None and cidr_blocks.is_within(block, _RESERVED):
        raise InvalidParameter(f"The destination CIDR block {destination.text} is reserved.")
