"""An instance of a group, as the pure functions that decide about the group see it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

PENDING: Final = frozenset({"Pending", "Pending:Wait", "Pending:Proceed"})
"""Lifecycle states of an instance on its way into service."""

IN_SERVICE: Final = "InService"

type Source = tuple[str, int] | str
"""What an instance was launched from: a launch template's id and version, or the name of a launch configuration."""


@dataclass(frozen=True, slots=True)
class Member:
    """One instance: `lifecycle_state` in Auto Scaling's words, `lifecycle` either `spot` or `on-demand`."""

    id: str
    zone: str
    lifecycle_state: str
    healthy: bool
    protected: bool
    launched: datetime
    source: Source
    instance_type: str
    lifecycle: str = "on-demand"
    weight: int = 1
