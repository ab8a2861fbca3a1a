"""What a subsystem found when it was asked to look at one interface: for people, in the order a packet meets it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is in force on this host, or missing."""

    what: str  # such as "tap" or "route"
    id: str  # of the resource that it belongs to
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Path:
    """The beginning of a packet's way: an interface on this host, and where the packet is to go."""

    vpc_id: str
    subnet_id: str
    interface_id: str
    from_address: str
    to_address: str
