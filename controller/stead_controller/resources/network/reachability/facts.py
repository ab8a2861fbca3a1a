"""The input of the analysis: plain facts, found by id or address."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

LOCAL: Final = "local"
INTERNET_GATEWAY: Final = "internet-gateway"
EGRESS_ONLY_GATEWAY: Final = "egress-only-internet-gateway"
NAT_GATEWAY: Final = "natgateway"
INTERFACE: Final = "network-interface"
PEERING: Final = "vpc-peering-connection"
VPC_ENDPOINT: Final = "vpc-endpoint"


@dataclass(frozen=True, slots=True)
class Vpc:
    """A VPC with its blocks; `opaque` when it belongs to another account, so that its inside must not be shown."""

    id: str
    blocks: tuple[str, ...]
    internet_gateway_id: str | None = None
    opaque: bool = False


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet with the route table and the ACL that apply to it."""

    id: str
    vpc_id: str
    blocks: tuple[str, ...]
    route_table_id: str
    acl_id: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route; `target_type` is `local` or a type of `catalog/nouns.py`; the target of a dead one was deleted."""

    destination: str
    target_type: str
    target_id: str
    dead: bool = False
    prefix_list_id: str | None = None


@dataclass(frozen=True, slots=True)
class AclRule:
    """An entry of an ACL: protocol as number or -1; the ports are ICMP type and code for ICMP; None is any."""

    number: int
    egress: bool
    allow: bool
    protocol: str
    block: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class GroupRule:
    """A rule of a group: protocol as number or -1; -1 as port, ICMP type or code is any; one kind of peer is set."""

    id: str
    egress: bool
    protocol: str
    first: int
    last: int
    blocks: tuple[str, ...] = ()
    group_id: str | None = None
    prefix_list_id: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A security group with its rules."""

    id: str
    rules: tuple[GroupRule, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface; `public` gives the public address of a private one; `unfiltered` is a NAT gateway's.

    `down` explains why nothing is connected to it; empty when something is.
    """

    id: str
    vpc_id: str
    subnet_id: str
    addresses: tuple[str, ...]
    group_ids: tuple[str, ...] = ()
    public: Mapping[str, str] = field(default_factory=dict)
    source_dest_check: bool = True
    instance_id: str | None = None
    unfiltered: bool = False
    down: str = ""


@dataclass(frozen=True, slots=True)
class NatGateway:
    """A NAT gateway and its interface; its state is EC2's."""

    id: str
    interface_id: str | None
    state: str = "available"


class Facts(Protocol):
    """A source of facts: rows, or a test."""

    def vpc(self, vpc_id: str) -> Vpc:
        """Return a VPC that an interface or a peering connection named."""

    def subnet(self, subnet_id: str) -> Subnet:
        """Return a subnet that an interface named."""

    def routes(self, route_table_id: str) -> tuple[Route, ...]:
        """Return the routes of a table, the local ones included."""

    def acl(self, acl_id: str) -> tuple[AclRule, ...]:
        """Return the rules of an ACL by number, without the final denials."""

    def group(self, group_id: str) -> Group:
        """Return a group that an interface named."""

    def interface(self, interface_id: str) -> Interface | None:
        """Return an interface by its id."""

    def interface_at(self, vpc_id: str, address: str) -> Interface | None:
        """Return the interface that has a private address of a VPC."""

    def interface_of_public(self, address: str) -> Interface | None:
        """Return the interface that a public address leads to, unless it is another account's."""

    def nat_gateway(self, gateway_id: str) -> NatGateway | None:
        """Return a NAT gateway."""

    def peer(self, peering_id: str, vpc_id: str) -> str | None:
        """Return the VPC at the other end of an active peering connection."""
