"""What a request says of a route's target. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """The targets that a request may name, of which it names exactly one; `local` resets a replaced local route."""

    gateway_id: str | None = None
    nat_gateway_id: str | None = None
    interface_id: str | None = None
    instance_id: str | None = None
    egress_only_gateway_id: str | None = None
    peering_id: str | None = None
    local: bool = False
