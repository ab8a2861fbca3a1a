"""How an instance refresh replaces instances: how many end now, and how many are wanted meanwhile. Pure.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stead_controller.resources.scaling.member import IN_SERVICE, Member


@dataclass(frozen=True, slots=True)
class Rolling:
    """A refresh that goes on: `stale` are the ids of the instances to be replaced, of which `budget` may be by now.

    `healthy` are the percentages of the desired capacity that serves at least, and that is there at most. A new
    instance serves once it has been in service for the `warmup`. Instances in `waiting` hold it up, and are not ended.
    """

    stale: frozenset[str]
    budget: int
    healthy: tuple[int, int]
    warmup: timedelta
    waiting: frozenset[str] = frozenset()

    def least(self, desired: int) -> int:
        """Return how much serves at least; one less than is desired where nothing else could be replaced."""
        least = -(-desired * self.healthy[0] // 100)
        return least if self.healthy[1] > 100 else min(least, desired - 1)

    def most(self, desired: int) -> int:
        """Return how much is there at most."""
        return desired if self.healthy[1] <= 100 else max(desired + 1, desired * self.healthy[1] // 100)


@dataclass(slots=True)
class Rolled:
    """What a refresh does now: which instances end, how much is wanted meanwhile, and when it looks again.

    `is_done` is whether all that it may replace is replaced, and everything serves.
    """

    wanted: int
    most: int
    ending: list[str] = field(default_factory=list)
    again: datetime | None = None
    is_done: bool = False


def roll(
    rolling: Rolling, desired: int, steady: Sequence[Member], served: Mapping[str, datetime | None], now: datetime
) -> Rolled:
    """Return what a refresh does now with a group's instances; `served` is since when each is in service."""
    old = [member for member in steady if member.id in rolling.stale]
    new = [member for member in steady if member.id not in rolling.stale]
    warm_at = {member.id: (served[member.id] or now) + rolling.warmup for member in filter(_serves, new)}
    cold = [at for at in warm_at.values() if at > now]
    ready = sum(member.weight for member in old if _serves(member))
    ready += sum(member.weight for member in new if member.id in warm_at and warm_at[member.id] <= now)
    free = min(ready - rolling.least(desired), rolling.budget)
    rolled = Rolled(desired, rolling.most(desired), again=min(cold, default=None))
    for member in sorted(filter(_serves, old), key=lambda one: (one.launched, one.id)):
        if member.weight > free:
            break
        rolled.ending.append(member.id)
        free -= member.weight
    left = min(_weight(old), rolling.budget) - sum(one.weight for one in old if one.id in rolled.ending)
    rolled.wanted = min(rolled.most, desired + max(0, left))
    serving = all(_serves(member) for member in new) and not cold
    is_whole = _weight(new) + _weight(old) >= desired
    rolled.is_done = serving and is_whole and (not old or rolling.budget <= 0)
    return rolled


def _serves(member: Member) -> bool:
    return member.lifecycle_state == IN_SERVICE and member.healthy


def _weight(members: Sequence[Member]) -> int:
    return sum(member.weight for member in members)


@dataclass(frozen=True, slots=True)
class Coming:
    """What does not serve yet of what a refresh launches: how much, one that warms up, and one that is pending."""

    missing: int
    warming: str | None
    pending: str | None


def coming(
    rolling: Rolling, desired: int, steady: Sequence[Member], served: Mapping[str, datetime | None], now: datetime
) -> Coming:
    """Return what does not serve yet of a group's instances, but for those that are to be replaced."""
    replaced = rolling.stale | rolling.waiting
    new = [member for member in steady if member.id not in replaced]
    serving = [one for one in new if _serves(one)]
    warm = [one for one in serving if (served[one.id] or now) + rolling.warmup <= now]
    old = [one for one in steady if one.id in replaced]
    return Coming(
        max(0, desired - _weight(old) - _weight(warm)),
        next((one.id for one in serving if one not in warm), None),
        next((one.id for one in new if not _serves(one)), None),
    )


def next_checkpoint(percentages: Sequence[int], reached: int, total: int) -> int:
    """Return how many instances are replaced until the checkpoint after those that were reached."""
    percentage = percentages[reached] if reached < len(percentages) else 100
    return -(-total * percentage // 100)
