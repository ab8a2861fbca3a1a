"""What a host is searched for: a need, where, and by which rules and preferences."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stead_controller.placement.group import Group, Member
from stead_controller.placement.need import Need
from stead_controller.placement.tenancy import SHARED, Tenancy


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides about a host besides the room that an instance needs.

    `beside` is how many instances of the same launch each host has got, `homes` how many GiB of the instance's volumes
    each has; hosts by their ids. `group` is the instance's placement group, `tenancy` with whom it may share a host.
    `snapshot_id` is that of the root volume; `instance_type` is named in refusals.
    """

    instance_type: str = ""
    snapshot_id: str | None = None
    beside: Mapping[str, int] = field(default_factory=dict)
    homes: Mapping[str, int] = field(default_factory=dict)
    group: Group | None = None
    tenancy: Tenancy = SHARED


@dataclass(frozen=True, slots=True)
class Search:
    """A search in one zone; `disk` is the size of the largest disk that is to be made, in bytes.

    `packs` is whether the fullest host that fits is preferred, instead of the emptiest.
    """

    need: Need
    zone: str
    disk: int = 0
    packs: bool = False
    terms: Terms = field(default_factory=Terms)

    @property
    def near(self) -> frozenset[str]:
        """The ids of the hosts that are preferred to all others, where they fit."""
        return frozenset(self.terms.homes) | {member.host_id for member in self.companions}

    @property
    def companions(self) -> tuple[Member, ...]:
        """The instances of its placement group near to which the instance is to be."""
        return self.terms.group.companions if self.terms.group is not None else ()
