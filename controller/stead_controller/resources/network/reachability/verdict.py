"""The result of the analysis: the hops of a path, the reasons against it, and the verdict of both directions."""

from dataclasses import dataclass, field

from stead_controller.resources.network.reachability.facts import AclRule, GroupRule, Route
from stead_controller.resources.network.reachability.packet import Packet


@dataclass(frozen=True, slots=True)
class Hop:
    """One component that a packet passes, with what decided there, also as text."""

    component_id: str
    sentence: str
    packet: Packet
    vpc_id: str | None = None
    subnet_id: str | None = None
    attached_to: str | None = None
    acl_rule: AclRule | None = None
    group_rule: GroupRule | None = None
    route: Route | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why traffic does not get through: EC2's explanation code, the component that decides, and a plain sentence.

    See https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html.
    """

    code: str
    component_id: str
    sentence: str
    packet: Packet
    reply: bool = False
    direction: str | None = None  # ingress, egress
    vpc_id: str | None = None
    subnet_id: str | None = None
    interface_id: str | None = None
    acl_id: str | None = None
    acl_rule: AclRule | None = None
    group_ids: tuple[str, ...] = ()
    route_table_id: str | None = None
    route: Route | None = None
    gateway_id: str | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether traffic gets there and its answer back; its hops; the reasons why not; caveats."""

    reachable: bool
    forward: tuple[Hop, ...]
    back: tuple[Hop, ...] = ()
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = field(default=())
