"""How often guests asked the metadata service without a token between two readings (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from stead_agent.metadata.interface import Uses


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests without a token in some time: answered, and refused since one is required."""

    answered: int = 0
    refused: int = 0

    def __add__(self, other: "Asked") -> "Asked":
        """Return those of two times that follow each other."""
        return Asked(self.answered + other.answered, self.refused + other.refused)


class MetadataUses:
    """Readings become differences; what was counted before the first reading counts for nothing."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._before: Mapping[str, Uses] | None = None

    def since_before(self, now: Mapping[str, Uses]) -> dict[str, Asked]:
        """Return what each guest asked since the reading before.

        A guest that was not known then, or whose counters have begun at zero again, counts from zero.
        """
        before, self._before = self._before, now
        if before is None:
            return {}
        return {instance_id: _grown(before.get(instance_id), uses) for instance_id, uses in now.items()}


def _grown(before: Uses | None, now: Uses) -> Asked:
    grows = (
        before is not None
        and before.process == now.process
        and before.without_token <= now.without_token
        and before.refused <= now.refused
    )
    if before is None or not grows:
        return Asked(now.without_token, now.refused)
    return Asked(now.without_token - before.without_token, now.refused - before.refused)
