"""What has passed the borders of VPCs on this host, by who sent or got it."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple, Protocol


class Way(Enum):
    """Where bytes went, or came from."""

    TO_INTERNET = "to_internet"
    FROM_INTERNET = "from_internet"
    TO_HOST = "to_host"  # to an interface of the VPC on another host
    TO_PEER_HOST = "to_peer_host"  # to an interface of a peer VPC on another host


class Counter(NamedTuple):
    """A counter of the kernel in a VPC: of an address, by a way, to a host's underlay address or none."""

    way: Way
    address: str
    host: str = ""


class Sum(NamedTuple):
    """How many bytes an instance or a NAT gateway has sent, or got, since the book was begun."""

    id: str
    way: Way
    host: str
    total: int


class Sums(NamedTuple):
    """All sums of a book; `epoch` is its name, by which they are known."""

    epoch: str
    sums: tuple[Sum, ...]


class Traffic(Protocol):
    """The book of a host. All methods may be repeated and called from any thread."""

    def own(self, vpc_id: str, owners: Mapping[str, str], peers: frozenset[str]) -> None:
        """Note who has which address of a VPC here, and with which VPCs it has peerings."""

    def read(self) -> Sums:
        """Read the counters of all VPCs, and return what is known then; what cannot be read now is told next time."""

    def read_last(self, vpc_id: str) -> None:
        """Read the counters of a VPC that leaves the host."""

    def told(self, sums: Sums) -> None:
        """Note that the controller knows these: of what has left the host they are needed no more."""
