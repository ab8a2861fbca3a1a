"""What an instance refresh has its group do in a step, and what becomes of the refresh by that."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from stead_controller.db.tables import InstanceRefresh, ScalingGroup
from stead_controller.resources.scaling import instance_refreshes, rolling, words
from stead_controller.resources.scaling.instance_refreshes import (
    BAKING,
    CANCELLED,
    CANCELLING,
    IGNORE,
    IN_PROGRESS,
    PENDING,
    REFRESH,
    ROLLING_BACK,
    WAIT,
    Preferences,
)
from stead_controller.resources.scaling.member import IN_SERVICE, WARM, Member
from stead_controller.resources.scaling.member import PENDING as COMING
from stead_controller.resources.scaling.plan import LEAVING, STANDBY, Plan
from stead_controller.resources.scaling.rolling import Coming, Rolling
from stead_controller.resources.scaling.warm_pool_plan import LEAVING_WARM

_PATIENCE: Final = timedelta(hours=1)


@dataclass(slots=True)
class RefreshStep:
    """The refresh of a group in a step; `fits` tells whether an instance is what the group launches now."""

    group: ScalingGroup
    row: InstanceRefresh
    now: datetime
    fits: Callable[[Member], bool]
    _chosen: Preferences = field(init=False)
    _target: int = field(default=0, init=False)
    _waiting: int = field(default=0, init=False)
    _pool_moves: bool = field(default=False, init=False)
    stale_warm: frozenset[str] = field(default=frozenset(), init=False)
    ends_warm: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Read the preferences."""
        self._chosen = Preferences.read(self.row.preferences)

    def see(self, members: Sequence[Member], served: Mapping[str, datetime | None]) -> Rolling | None:
        """Count what is to be replaced, and return how it is; None if nothing is to be replaced now.

        `served` is since when each instance is in service.
        """
        row = self.row
        if row.status == PENDING:
            row.status = IN_PROGRESS
        if row.status not in (IN_PROGRESS, ROLLING_BACK):
            return None
        if row.targets is None:
            row.targets = json.dumps([member.id for member in members if self._is_target(member)])
            row.total = row.left = len(json.loads(row.targets))
        targets = frozenset(json.loads(row.targets))
        stale = [member for member in members if member.id in targets and self._is_there(member)]
        waiting = {member.id for member in stale if self._waits(member)}
        left = len(stale)
        if left < row.left:
            row.progressed = self.now
        row.left, self._waiting = left, len(waiting)
        if row.resumes is not None and row.resumes <= self.now:
            row.checkpoint, row.resumes, row.progressed = row.checkpoint + 1, None, self.now
        points = () if row.status == ROLLING_BACK else self._chosen.checkpoints
        self._target = rolling.next_checkpoint(points, row.checkpoint, row.total)
        least, most = self._chosen.healthy
        assert least is not None, "chosen at the start"
        assert most is not None, "chosen at the start"
        seen = Rolling(
            stale=frozenset(member.id for member in stale) - waiting,
            budget=max(0, self._target - (row.total - left)),  # nothing, while it pauses at a checkpoint
            healthy=(least, most),
            warmup=timedelta(seconds=self._warmup()),
            waiting=frozenset(waiting),
        )
        steady = [one for one in members if one.lifecycle_state == IN_SERVICE or one.lifecycle_state in COMING]
        coming = rolling.coming(seen, self.group.desired, steady, served, self.now)
        row.unready = min(self._done(), coming.missing)
        row.reason = _reason(coming, [] if seen.stale else stale)
        return seen

    def see_warm(self, members: Sequence[Member]) -> None:
        """Count what is to be replaced in the warm pool, which is so after what is in service."""
        row = self.row
        if row.status not in (IN_PROGRESS, ROLLING_BACK):
            return
        there = [member for member in members if member.lifecycle_state not in LEAVING_WARM]
        if row.warm_targets is None:
            matters = row.status == ROLLING_BACK or self._chosen.skip_matching
            row.warm_targets = json.dumps([one.id for one in there if not (matters and self.fits(one))])
            row.warm_total = row.warm_left = len(json.loads(row.warm_targets))
        targets = {*json.loads(row.targets or "[]"), *json.loads(row.warm_targets)}  # some may have come back
        self.stale_warm = frozenset(member.id for member in there if member.id in targets)
        if len(self.stale_warm) < row.warm_left:
            row.progressed = self.now
        row.warm_left = min(len(self.stale_warm), row.warm_total)
        self._pool_moves = any(member.lifecycle_state not in WARM for member in members)

    def _warmup(self) -> int:
        group = self.group
        given = (self._chosen.warmup, group.warmup, group.health_grace)
        return next(seconds for seconds in given if seconds is not None)

    def _is_target(self, member: Member) -> bool:
        matters = self.row.status == ROLLING_BACK or self._chosen.skip_matching
        return self._is_there(member) and not (matters and self.fits(member))

    def _is_there(self, member: Member) -> bool:
        """Tell whether an instance is one of those that are replaced."""
        counted = member.lifecycle_state == IN_SERVICE or member.lifecycle_state in COMING
        if not counted and (member.lifecycle_state != STANDBY or self._chosen.standby == IGNORE):
            return False
        return not (member.protected and self._chosen.protected == IGNORE)

    def _waits(self, member: Member) -> bool:
        if member.lifecycle_state == STANDBY:
            return self._chosen.standby == WAIT
        return member.protected and self._chosen.protected != REFRESH

    def settle(self, decided: Plan, members: Sequence[Member]) -> datetime | None:
        """Write what became of the refresh; return when it has to be looked at again."""
        row = self.row
        if row.status == CANCELLING:
            if not any(one.lifecycle_state in COMING or one.lifecycle_state in LEAVING for one in members):
                row.status, row.ended = CANCELLED, self.now
            return None
        if row.status == BAKING:
            if row.resumes is not None and row.resumes <= self.now:
                self._succeed()
                return None
            return row.resumes
        if row.resumes is not None:
            return row.resumes
        if decided.refreshed:
            return self._reach()
        return self._wait()

    def _reach(self) -> datetime | None:
        """Go on from a checkpoint, or from the end."""
        row, points = self.row, self._chosen.checkpoints
        is_back = row.status == ROLLING_BACK
        if not is_back and row.checkpoint < len(points) - 1 and self._done() >= self._target:
            row.resumes = self.now + timedelta(seconds=self._chosen.delay)
            return row.resumes
        if self._waiting and self._done() < self._target:
            return self._wait()
        if self.stale_warm or (row.warm_total and self._pool_moves):
            self.ends_warm = True
            return self._wait()
        if self._chosen.bake and not is_back:
            row.status, row.resumes = BAKING, self.now + timedelta(seconds=self._chosen.bake)
            return row.resumes
        self._succeed()
        return None

    def _done(self) -> int:
        return self.row.total - self.row.left

    def _wait(self) -> datetime | None:
        """Fail if nothing was replaced for too long."""
        ends = self.row.progressed + _PATIENCE + timedelta(seconds=self._warmup())
        if ends > self.now:
            return ends
        reason = f"No instance could be replaced for {_PATIENCE.total_seconds() / 60:.0f} minutes."
        if self._waiting:
            reason = f"{reason} {self._waiting} instance(s) in standby or protected from scaling in are waited for."
        self._fail(reason)
        return None if self.row.ended is not None else self.now

    def _succeed(self) -> None:
        row, group = self.row, self.group
        row.reason, row.unready = "", 0
        row.status = "RollbackSuccessful" if row.status == ROLLING_BACK else "Successful"
        row.ended, row.resumes = self.now, None
        group.launch, group.refreshing = group.launching, None

    def _fail(self, reason: str) -> None:
        row, group = self.row, self.group
        is_back = row.status == ROLLING_BACK
        if not is_back and self._chosen.auto_rollback and instance_refreshes.can_roll_back(group, row):
            instance_refreshes.begin_rollback(group, row, reason, self.now)
            return
        row.status = "RollbackFailed" if is_back else "Failed"
        row.reason, row.ended, group.refreshing = reason, self.now, None


def _reason(coming: Coming, waiting: Sequence[Member]) -> str:
    """Return what a refresh waits for, in AWS's words; empty if for nothing."""
    if coming.warming is not None:
        return words.warms_up(coming.warming)
    if coming.pending is not None:
        return words.is_pending(coming.pending)
    if not waiting:
        return ""
    told = words.stands_by if waiting[0].lifecycle_state == STANDBY else words.is_protected
    return told(waiting[0].id)
