"""One step of a group in one transaction: see what there is, decide (`plan.py`), and carry it out.

A step that was undone is done again by the next one, which sees the same; what was committed is seen by it. So no
instance is launched twice, whoever is killed and when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from stead_controller.db.tables import ScalingGroup, ScalingInstance, WarmPool
from stead_controller.errors import SteadError
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.scaling import (
    activities,
    close_measuring,
    group_notices,
    instance_refreshes,
    lifecycle_hooks,
    plan,
    sight,
    target_states,
    termination,
    warm_pool_plan,
    warm_pools,
    words,
)
from stead_controller.resources.scaling import launch_configurations as configurations
from stead_controller.resources.scaling.activities import Event
from stead_controller.resources.scaling.hook_notices import FROM_POOL, INTO_GROUP, OUT_OF_GROUP, OUT_OF_POOL, Way
from stead_controller.resources.scaling.launches import Launched, Launcher, Read, Wanted, owner
from stead_controller.resources.scaling.member import IN_SERVICE, WARMED, Member, Source, is_warm
from stead_controller.resources.scaling.member_row import member_row
from stead_controller.resources.scaling.plan import Plan, Seen, Situation, Why
from stead_controller.resources.scaling.refresh_step import RefreshStep
from stead_controller.resources.scaling.termination import Facts
from stead_controller.resources.scaling.warm_pool_plan import LEAVING_WARM, WarmPlan, Warmth
from stead_controller.resources.scaling.warm_pool_step import WarmPoolStep

NOWHERE: Final[Source] = ("", 0)
"""The source of what was launched by nothing that is known."""


@dataclass(slots=True)
class Step:
    """A step of a group; `read` makes launches of what it has stored."""

    tx: Transaction
    cloud: Cloud
    read: Read
    group: ScalingGroup
    now: datetime
    _hooked: tuple[bool, bool] = field(default=(False, False), init=False)
    _pool: WarmPool | None = field(default=None, init=False)
    _refreshes: bool = field(default=False, init=False)
    _launching: frozenset[tuple[Source, str]] | None = field(default=None, init=False)

    def run(self) -> None:
        """See, decide and do."""
        group = self.group
        rows = {row.instance_id: row for row in sight.rows(self.tx, group.id)}
        seen = sight.seen(self.tx, rows)
        live = [one for one in seen if not is_warm(one.member)]
        warm = [one for one in seen if is_warm(one.member)]
        self._hooked = lifecycle_hooks.kinds(self.tx, group.id)
        self._pool = self.tx.session.get(WarmPool, group.id)
        situation, members = self._situation(), [one.member for one in live]
        refresh = None if group.deleting else self._refresh()
        if refresh is not None:
            situation = replace(situation, refresh=refresh.see(members, {one.member.id: one.since for one in live}))
            self._refreshes = situation.refresh is not None
        decided = plan.decide(situation, live, self._choose, self.now)
        if refresh is not None:
            refresh.see_warm([one.member for one in warm])
            again = refresh.settle(decided, members)
            if again is not None:
                decided.look_again(again)
        warm_plan = WarmPlan()
        if self._pool is not None:
            warmth = Warmth(warm_pools.seen(group, self._pool), warm)
            if refresh is not None:
                warmth = replace(warmth, stale=refresh.stale_warm, replacing=refresh.ends_warm)
            warm_plan = warm_pool_plan.decide(situation, warmth, live, decided, self._choose, self.now)
        group.due = decided.due
        self._settle(decided, rows)
        capacity = sum(one.member.weight for one in seen if plan.is_counted(one.member))
        self._end(decided, rows, {one.member.id: one for one in seen}, capacity)
        capacity -= sum(rows[one].weight for one in decided.ending if self._was_counted(seen, one))
        capacity = self._use_pool(warm_plan, decided, rows, capacity)
        capacity += self._launch(decided, capacity, _of_markets(seen, decided))
        if capacity == group.desired:
            group.why = ""
        self.tx.session.flush()
        if decided.finished:
            self.tx.session.delete(group)
            self.tx.session.flush()

    def _situation(self) -> Situation:
        group = self.group
        return Situation(
            desired=group.desired,
            zones=group.zones,
            grace=timedelta(seconds=group.health_grace),
            suspended=frozenset(group.suspended),
            retry_at=group.retry_at,
            balance_at=group.balance_at,
            deleting=group.deleting,
            maximum=group.max_size,
            lifetime=None if group.max_lifetime is None else timedelta(seconds=group.max_lifetime),
            healthy=_percentages(group),
        )

    def _use_pool(self, decided: WarmPlan, of_group: Plan, rows: dict[str, ScalingInstance], capacity: int) -> int:
        """Let the warm pool do what is decided; return the group's capacity after it."""
        if self._pool is None:
            return capacity
        step = WarmPoolStep(self.tx, self.cloud, self.group, self._pool, self.now, self._hooked, self._look_again)
        step.settle(decided, rows)
        returning = [rows[member_id] for member_id in decided.returning]
        shrunk = self._shrink_cause(returning, capacity)
        for row in returning:
            step.give_back(row, shrunk)
            capacity -= row.weight
        starting = [rows[member_id] for member_id in decided.starting]
        wanted = capacity + sum(row.weight for row in starting) + sum(of_group.launches.values())
        grown = self._launch_cause(capacity, wanted, replacing=of_group.replacing)
        for row in starting:
            if step.start(row, grown):
                capacity += row.weight
            else:
                of_group.launches[row.zone] = of_group.launches.get(row.zone, 0) + row.weight
        launcher = Launcher(self.tx, self.cloud, self.read, self.group, self.now, target=step.target)
        step.fill(launcher, decided, _warm(rows))
        if self._pool.deleting and not any(map(is_warm, rows.values())):
            self.tx.session.delete(self._pool)
        return capacity

    def _refresh(self) -> RefreshStep | None:
        row = instance_refreshes.under_way(self.tx, self.group.id)
        return None if row is None else RefreshStep(self.group, row, self.now, self._fits)

    def _fits(self, member: Member) -> bool:
        """Tell whether an instance is what the group launches now."""
        if self._launching is None:
            self._launching = self._sources()
        return (member.source, member.instance_type) in self._launching

    def _sources(self) -> frozenset[tuple[Source, str]]:
        """Return of what and which types the group launches; nothing where that cannot be read."""
        group, caller = self.group, owner(self.cloud, self.group)
        wanted = Wanted(group.launching, group.zones[0], None)
        found: set[tuple[Source, str]] = set()
        for spot in (False, True):
            try:
                ways = self.read(self.tx, caller, replace(wanted, spot=spot))
            except SteadError:
                continue  # nothing is launched by it, so nothing fits
            for pool in ways.pools:
                if pool.request is not None:
                    origin = ways.origins[pool.number]
                    source = sight.source(origin.template_id, origin.template_version, origin.configuration)
                    found.add((source, pool.request.instance_type))
        return frozenset(found)

    def _look_again(self, at: datetime) -> None:
        self.group.due = at if self.group.due is None else min(self.group.due, at)

    def _choose(self, members: Sequence[Member], count: int) -> Sequence[str]:
        return termination.choose(members, self.group.termination_policies, count, self._facts())

    def _facts(self) -> Facts:
        """Return what the group launches now, as far as it is there, and what it likes best of it."""
        group, caller = self.group, owner(self.cloud, self.group)
        wanted = Wanted(group.launching, group.zones[0], None)
        made = configurations.made(self.tx, caller)
        try:
            ways = [self.read(self.tx, caller, replace(wanted, spot=spot)) for spot in (False, True)]
        except SteadError:
            return Facts(self.now, NOWHERE, made)
        origin = next(iter(ways[0].origins.values()))
        current = sight.source(origin.template_id, origin.template_version, origin.configuration)
        if ways[0].distribution is None:
            return Facts(self.now, current, made)
        ranks = {
            (market, kind): rank
            for market, way in zip(("on-demand", "spot"), ways, strict=True)
            for rank, kind in enumerate(way.best_first(self.tx))
        }
        return Facts(self.now, current, made, ways[0].distribution, ranks)

    @staticmethod
    def _was_counted(seen: Sequence[Seen], member_id: str) -> bool:
        return any(one.member.id == member_id and plan.is_counted(one.member) for one in seen)

    def _settle(self, decided: Plan, rows: dict[str, ScalingInstance]) -> None:
        """Write what became of instances by themselves."""
        for member_id in decided.removed:
            row = rows.pop(member_id)
            self._over(row, group_notices.TERMINATE)
            self.tx.session.delete(row)
            if not is_warm(row):
                self.group.scaled = self.now
        for member_id in decided.doubted:
            rows[member_id].until = self.now + plan.PATIENCE
        for member_id in decided.trusted:
            rows[member_id].until = None
        for member_id in decided.unhealthy:
            rows[member_id].healthy = False
        for member_id in decided.proceeding:
            self._terminate(rows[member_id])
        for member_id in decided.entering:
            self._enter(rows[member_id])

    def _enter(self, row: ScalingInstance) -> None:
        """Take an instance into service, or let it wait for hooks before."""
        if self._hooked[0] and row.lifecycle_state == "Pending":
            from_pool = row.in_service is None and row.since > row.launched
            self._wait(row, plan.PENDING_WAIT, FROM_POOL if from_pool else INTO_GROUP)
            activity = activities.find(self.tx, row.activity_id)
            if activity is not None:
                activities.move(activity, activities.IN_HOOK)
            return
        lifecycle_hooks.forget(self.tx, row)
        row.lifecycle_state, row.since = IN_SERVICE, self.now
        row.in_service = row.in_service or self.now
        self._over(row, group_notices.LAUNCH)
        self.group.failures, self.group.retry_at = 0, None
        self.group.scaled = self.now

    def _over(self, row: ScalingInstance, kind: str, *, failure: str | None = None, status: str | None = None) -> None:
        """End what is under way with an instance, and tell topics."""
        activity = activities.find(self.tx, row.activity_id)
        row.activity_id = None
        if activity is not None:
            activities.end(activity, self.now, failure=failure, status=status)
            group_notices.tell(self.tx, self.group, activity, kind, self.now)

    def _wait(self, row: ScalingInstance, state: str, way: Way) -> None:
        row.lifecycle_state, row.since = state, self.now
        self._look_again(lifecycle_hooks.begin(self.tx, row, way, self.now))

    def _end(self, decided: Plan, rows: dict[str, ScalingInstance], seen: dict[str, Seen], capacity: int) -> None:
        """Begin to end instances."""
        surplus = [one for one, why in decided.ending.items() if why is Why.SURPLUS and not is_warm(rows[one])]
        shrunk = self._shrink_cause([rows[one] for one in surplus], capacity)
        for member_id, why in decided.ending.items():
            row, state = rows[member_id], seen[member_id].state
            if why in (Why.LAUNCH_FAILED, Why.ABANDONED):
                self._fail_launch(row, why, seen[member_id])
            self._begin_end(row, shrunk if member_id in surplus else self._cause(row, why))
            is_gone = state in (None, "terminated", "shutting-down")
            is_forced = self.group.deleting or (is_warm(row) and self._pool is not None and self._pool.deleting)
            if not is_gone and why is not Why.ABANDONED and self._hooked[1] and not is_forced:
                target_states.show(self.tx, member_id, _within(row, target_states.TERMINATED))
                way = OUT_OF_POOL if is_warm(row) else OUT_OF_GROUP
                self._wait(row, _within(row, plan.TERMINATING_WAIT), way)
                continue
            self._terminate(row, is_gone=is_gone)

    def _begin_end(self, row: ScalingInstance, cause: str) -> None:
        lifecycle_hooks.forget(self.tx, row)
        activities.cut_short(self.tx, row.activity_id, self.now)
        place = {"Availability Zone": row.zone}
        event = Event(f"Terminating EC2 instance: {row.instance_id}", cause, row.instance_id, place)
        row.activity_id = activities.begin(self.tx, self.group, event, activities.IN_PROGRESS, self.now).id
        row.lifecycle_state, row.since, row.until = _within(row, plan.TERMINATING), self.now, None

    def _cause(self, row: ScalingInstance, why: Why) -> str:
        if why is Why.SURPLUS:
            return words.at(self.now, words.COOLED)
        if is_warm(row) and why is Why.DELETION and not self.group.deleting:
            return words.at(self.now, words.POOL_DELETED)
        told = words.at(self.now, words.ended(why))
        return f"{told}  {words.at(self.now, words.selected(row.instance_id))}" if why is Why.REFRESH else told

    def _shrink_cause(self, rows: Sequence[ScalingInstance], before: int) -> str:
        """Say why a group of that capacity gives up these instances, in words that each of them has in common."""
        shrunk = words.shrunk(before, before - sum(row.weight for row in rows))
        told = (shrunk, *(words.selected(row.instance_id) for row in rows))
        return "  ".join(filter(None, (self.group.why, *(words.at(self.now, one) for one in told))))

    def _fail_launch(self, row: ScalingInstance, why: Why, seen: Seen) -> None:
        if why is Why.ABANDONED:
            self._over(row, group_notices.LAUNCH_ERROR, status=activities.CANCELLED, failure=words.ABANDONED)
            return
        reason = sight.state_reason(self.tx, seen.member.id)
        self._over(row, group_notices.LAUNCH_ERROR, failure=words.never_in_service(reason))
        if is_warm(row) and self._pool is not None:
            self._pool.failures += 1
            self._pool.retry_at = self.now + plan.pause_after(self._pool.failures)
        else:
            self._back_off()

    def _terminate(self, row: ScalingInstance, *, is_gone: bool = False) -> None:
        """Terminate an instance, whether protected from users' requests or not."""
        lifecycle_hooks.forget(self.tx, row)
        row.lifecycle_state = _within(row, plan.TERMINATING)
        if is_gone:
            self._look_again(self.now)
            return
        caller = owner(self.cloud, self.group)
        terminate_instances(self.tx, caller, [row.instance_id], self.now, even_protected=True)

    def _back_off(self) -> None:
        self.group.failures += 1
        self.group.retry_at = self.now + plan.pause_after(self.group.failures)

    def _launch(self, decided: Plan, before: int, weights: Mapping[str, int]) -> int:
        """Launch what is missing; return how much capacity that is."""
        if not decided.launches:
            return 0
        if self.group.retry_at is not None and self.group.retry_at > self.now:
            self._look_again(self.group.retry_at)
            return 0
        launcher = Launcher(
            self.tx,
            self.cloud,
            self.read,
            self.group,
            self.now,
            on_demand=weights["on_demand"],
            spot=weights["spot"],
        )
        made, refusal = launcher.launch(decided.launches, only_there=decided.only_there)
        close_measuring.settle(self.tx, self.group, [one.id for one in made])
        gained = sum(one.weight for one in made)
        wanted = before + max(gained, sum(decided.launches.values()))
        cause = self._launch_cause(before, wanted, replacing=decided.replacing)
        if decided.only_there:
            cause = words.at(self.now, words.balanced({zone: decided.present[zone] for zone in self.group.zones}))
        for one in made:
            self._add(one, cause)
        if decided.only_there and made:
            self.group.balance_at, self.group.why = None, words.at(self.now, words.above_desired(made[0].zone))
        if refusal is not None:
            self._refused(refusal, cause, decided)
        return gained

    def _refused(self, refusal: str, cause: str, decided: Plan) -> None:
        """Tell of a launch that failed, and try again later. One that was to balance zones makes no other one wait."""
        since = self.group.balance_at
        if decided.only_there:
            self.group.balance_at = self.now + plan.BALANCE_PAUSE
            self._look_again(self.group.balance_at)
            if since is not None and since + plan.BALANCE_PAUSE > self.now:
                return  # that was told
        else:
            self._back_off()
            self._look_again(self.group.retry_at or self.now)
        place = {"Availability Zone": ", ".join(decided.launches)}
        failed = f"Launching a new EC2 instance.  Status Reason: {refusal} {words.REFUSED}"
        failure = f"{refusal} {words.REFUSED}"
        activity = activities.note(self.tx, self.group, Event(failed, cause, None, place), self.now, failure=failure)
        group_notices.tell(self.tx, self.group, activity, group_notices.LAUNCH_ERROR, self.now)

    def _launch_cause(self, before: int, after: int, *, replacing: bool) -> str:
        if replacing and not self.group.why:
            return words.at(self.now, words.REPLACED)
        if self._refreshes and not self.group.why:
            return words.at(self.now, words.REFRESHED)
        grown = words.at(self.now, words.grown(before, after))
        return f"{self.group.why}  {grown}" if self.group.why else grown

    def _add(self, made: Launched, cause: str) -> None:
        place = {"Subnet ID": made.subnet, "Availability Zone": made.zone}
        event = Event(f"Launching a new EC2 instance: {made.id}", cause, made.id, place)
        activity = activities.begin(self.tx, self.group, event, activities.STARTING, self.now)
        row = member_row(self.group, made.id, made.zone, made.instance_type, self.now, origin=made.origin)
        row.spot, row.weight, row.activity_id = made.spot, made.weight, activity.id
        self.tx.session.add(row)


def _percentages(group: ScalingGroup) -> tuple[int, int] | None:
    least, most = group.min_healthy, group.max_healthy
    return None if least is None or most is None else (least, most)


def _within(row: ScalingInstance, state: str) -> str:
    """Return a lifecycle state as it is called where an instance is: in its group, or in the warm pool."""
    return f"{WARMED}{state}" if is_warm(row) else state


def _warm(rows: Mapping[str, ScalingInstance]) -> int:
    """Return how many instances of a group stay in its warm pool."""
    return sum(is_warm(row) and row.lifecycle_state not in LEAVING_WARM for row in rows.values())


def _of_markets(seen: Sequence[Seen], decided: Plan) -> dict[str, int]:
    """Return the capacity that stays, on demand and of Spot Instances."""
    found = {"on_demand": 0, "spot": 0}
    for one in seen:
        if plan.is_counted(one.member) and one.member.id not in decided.ending:
            found["spot" if one.member.lifecycle == "spot" else "on_demand"] += one.member.weight
    return found


def run(tx: Transaction, cloud: Cloud, read: Read, group_id: str, now: datetime) -> None:
    """Do the next step of a group, if it is still there and due."""
    group = tx.session.get(ScalingGroup, group_id)
    if group is not None and group.due is not None and group.due <= now:
        Step(tx, cloud, read, group, now).run()
