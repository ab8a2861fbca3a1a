"""An instance of a group, as the pure functions that decide about the group see it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

PENDING: Final = frozenset({"Pending", "Pending:Wait", "Pending:Proceed"})
"""Lifecycle states of an instance on its way into service."""

IN_SERVICE: Final = "InService"

WARMED: Final = "Warmed:"
"""With this begins the lifecycle state of an instance in its group's warm pool."""

WARM: Final = frozenset({"Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated"})
"""Lifecycle states of an instance that is ready in a warm pool."""

OFF: Final = frozenset({"Warmed:Stopped", "Warmed:Hibernated"})
"""Lifecycle states of an instance that is ready in a warm pool and does not run."""

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


class _InGroup(Protocol):
    """What has a lifecycle state."""

    @property
    def lifecycle_state(self) -> str:
        """The state in AWS's words."""


def is_warm(member: _InGroup) -> bool:
    """Tell whether an instance is in its group's warm pool."""
    return member.lifecycle_state.startswith(WARMED)
