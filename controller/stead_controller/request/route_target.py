"""A route's target, as requests name it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """The possible targets in a request, of which exactly one is set; `local` resets a replaced local route."""

    gateway_id: str | None = None
    nat_gateway_id: str | None = None
    interface_id: str | None = None
    instance_id: str | None = None
    egress_only_gateway_id: str | None = None
    peering_id: str | None = None
    local: bool = False
