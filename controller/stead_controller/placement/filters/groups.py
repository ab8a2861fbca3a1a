"""Whether the instances of a placement group may be on a host beside those that are there.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/placement-strategies.html.
"""

from typing import Final

from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def _spread(room: Room, search: Search) -> str | None:
    """Each instance of a spread group has a rack, or at the level `host` a host, of its own."""
    group = search.terms.group
    if group is None or group.strategy != "spread":
        return None
    if group.by_host:
        taken = any(member.host_id == room.host_id for member in group.members)
        return "it has an instance of the spread placement group" if taken else None
    taken = any(member.rack == room.rack for member in group.members)
    return f"its rack {room.rack} has an instance of the spread placement group" if taken else None


def _partition(room: Room, search: Search) -> str | None:
    """No rack is shared by two partitions of a group; the members of one without partitions are all in none."""
    group = search.terms.group
    if group is None:
        return None
    for member in group.members:
        if member.rack == room.rack and member.partition != group.partition:
            return f"its rack {room.rack} is of partition {member.partition} of the placement group"
    return None


FILTERS: Final = (Filter("spread", _spread), Filter("partition", _partition))
