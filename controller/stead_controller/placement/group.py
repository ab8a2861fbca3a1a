"""What a placement group says about where an instance may run."""

from dataclasses import dataclass
from typing import NamedTuple


class Member(NamedTuple):
    """Where another instance of the group runs, in the same zone, and in which partition."""

    host_id: str
    rack: str
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The placement group of an instance: its strategy, with its other instances in the zone.

    With `by_host` instances are spread over hosts, else over racks. `partition` is that of the instance itself.
    """

    strategy: str
    members: tuple[Member, ...] = ()
    by_host: bool = False
    partition: int | None = None

    @property
    def companions(self) -> tuple[Member, ...]:
        """The members near which the instance is to be: of its cluster or its partition; none of a spread group."""
        if self.strategy == "spread":
            return ()
        return tuple(member for member in self.members if member.partition == self.partition)
