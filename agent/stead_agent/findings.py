"""What a subsystem found when it inspected one interface: for people, in the order in which a packet meets it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is in force on this host, or missing."""

    what: str  # such as "tap" or "route"
    id: str  # of the resource that it belongs to
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Path:
    """The start of a packet's path: an interface on this host, and the packet's destination."""

    vpc_id: str
    subnet_id: str
    interface_id: str
    from_address: str
    to_address: str
