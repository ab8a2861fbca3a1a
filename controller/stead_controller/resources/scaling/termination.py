"""Which instances a group ends when it scales in: zones first, then the purchase option, then policies. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from stead_controller.resources.scaling.member import IN_SERVICE, PENDING, Member, Source

DEFAULT: Final = "Default"

_HOUR_SECONDS: Final = 3600
_LIFECYCLES: Final = ("on-demand", "spot")


@dataclass(frozen=True, slots=True)
class Distribution:
    """How much of a group's capacity is on demand: a base, and of what is above it a percentage (0 to 100)."""

    base: int = 0
    percentage: int = 100

    def on_demand(self, capacity: int) -> int:
        """Return how much of a capacity is on demand; what is not whole is rounded up."""
        base = min(self.base, capacity)
        return base - (base - capacity) * self.percentage // 100


@dataclass(frozen=True, slots=True)
class Facts:
    """What the policies ask beyond the instances.

    `current` is what the group launches from now; `configurations` says when launch configurations were made (one that
    is not there was deleted). Of a group with mixed instances, `distribution` is set, and `ranks` has a number for each
    purchase option and type, 0 for what the allocation strategy likes best; what is not there is no longer wanted.
    """

    now: datetime
    current: Source
    configurations: Mapping[str, datetime] = field(default_factory=dict)
    distribution: Distribution | None = None
    ranks: Mapping[tuple[str, str], int] = field(default_factory=dict)


def choose(instances: Sequence[Member], policies: Sequence[str], count: int, facts: Facts) -> list[str]:
    """Return the ids of the instances to end, in order, so that the capacity becomes smaller by at most `count`.

    Neither protected instances nor unhealthy ones are chosen, since the latter are replaced whatever policies say. Of
    several that policies do not tell apart, the one with the lowest id is taken. `policies` are names of POLICIES; none
    means Default.
    """
    counted = [member for member in instances if member.healthy and _counts(member)]
    keys = [POLICIES[name] for name in policies or (DEFAULT,)]
    free = (member for member in counted if not member.protected)
    queue = _Queues(sorted(free, key=lambda member: (*(key(member, facts) for key in keys), member.id)))
    in_zone = Counter(member.zone for member in counted)
    weights = Counter[str]()
    for member in counted:
        weights[member.lifecycle] += member.weight
    chosen: list[str] = []
    while zones := queue.zones(count):
        most = max(in_zone[zone] for zone in zones)
        taken = queue.take([zone for zone in zones if in_zone[zone] == most], _order(weights, facts.distribution))
        chosen.append(taken.id)
        count -= taken.weight
        in_zone[taken.zone] -= 1
        weights[taken.lifecycle] -= taken.weight
    return chosen


def _counts(member: Member) -> bool:
    return member.lifecycle_state == IN_SERVICE or member.lifecycle_state in PENDING


def _order(weights: Mapping[str, int], distribution: Distribution | None) -> tuple[tuple[str, ...], ...]:
    """Return purchase options by who has to give an instance, those with equal right together."""
    if distribution is None:
        return (_LIFECYCLES,)
    left = weights["on-demand"] + weights["spot"] - 1
    on_demand_gives = weights["on-demand"] > distribution.on_demand(left)
    return (("on-demand",), ("spot",)) if on_demand_gives else (("spot",), ("on-demand",))


class _Queues:
    """The instances that may be chosen, by zone and purchase option, each in the order of the policies."""

    def __init__(self, ordered: Iterable[Member]) -> None:
        self._queues: dict[tuple[str, str], deque[tuple[int, Member]]] = defaultdict(deque)
        for place, member in enumerate(ordered):
            self._queues[member.zone, member.lifecycle].append((place, member))

    def zones(self, count: int) -> set[str]:
        """Return the zones that have an instance of at most a weight, which never grows; others are dropped."""
        for queue in self._queues.values():
            while queue and queue[0][1].weight > count:
                queue.popleft()
        return {zone for (zone, _), queue in self._queues.items() if queue}

    def take(self, zones: Sequence[str], order: tuple[tuple[str, ...], ...]) -> Member:
        """Remove and return the first instance in zones that have one, of the first purchase option that has."""
        queues = (
            [queue for zone in zones for lifecycle in lifecycles if (queue := self._queues.get((zone, lifecycle)))]
            for lifecycles in order
        )
        first = next(filter(None, queues))
        return min(first, key=lambda queue: queue[0][0]).popleft()[1]


def _by_template(member: Member, facts: Facts) -> tuple[int, int]:
    """Order by launch template: configurations before other templates, before the current one's versions."""
    match member.source, facts.current:
        case (str(), str()):
            return 3, 0
        case (str(), _):
            return 0, 0
        case ((template, version), (current, _)) if template == current:
            return 2, version
    return 1, 0


def _by_configuration(member: Member, facts: Facts) -> tuple[int, float]:
    """Order by launch configuration: templates of before, deleted ones, then by age, the current one last."""
    match member.source, facts.current:
        case (str(name), current) if name != current:
            made = facts.configurations.get(name)
            return 1, made.timestamp() if made is not None else 0
        case (str(), _):
            return 2, 0
        case (_, str()):
            return 0, 0
    return 3, 0


def _by_hour(member: Member, facts: Facts) -> float:
    return _HOUR_SECONDS - (facts.now - member.launched).total_seconds() % _HOUR_SECONDS


def _by_allocation(member: Member, facts: Facts) -> float:
    if facts.distribution is None:
        return 0
    return -facts.ranks.get((member.lifecycle, member.instance_type), float("inf"))


def _by_default(member: Member, facts: Facts) -> tuple[object, ...]:
    age = _by_configuration if isinstance(facts.current, str) else _by_template
    return _by_allocation(member, facts), age(member, facts), _by_hour(member, facts)


_NAMED: Final[tuple[tuple[str, Callable[[Member, Facts], Any]], ...]] = (
    ("AllocationStrategy", _by_allocation),
    ("ClosestToNextInstanceHour", _by_hour),
    (DEFAULT, _by_default),
    ("NewestInstance", lambda member, _: -member.launched.timestamp()),
    ("OldestInstance", lambda member, _: member.launched.timestamp()),
    ("OldestLaunchConfiguration", _by_configuration),
    ("OldestLaunchTemplate", _by_template),
)

POLICIES: Final[Mapping[str, Callable[[Member, Facts], Any]]] = dict(_NAMED)
"""The termination policies by name, sorted; what has the lowest value goes first."""
