"""Carries out what `warm_pool_plan.py` has decided about a group's warm pool, within the group's step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from stead_controller.db.tables import Instance, ScalingGroup, ScalingInstance, WarmPool
from stead_controller.errors import SteadError
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction, undone_on
from stead_controller.resources.instances import hibernation, start_instances, stop_instances
from stead_controller.resources.scaling import (
    activities,
    close_measuring,
    lifecycle_hooks,
    plan,
    target_states,
    words,
)
from stead_controller.resources.scaling.activities import Event
from stead_controller.resources.scaling.hook_notices import BACK_TO_POOL, INTO_POOL, Way
from stead_controller.resources.scaling.launches import Launched, Launcher, owner
from stead_controller.resources.scaling.member import IN_SERVICE, WARMED
from stead_controller.resources.scaling.member_row import member_row
from stead_controller.resources.scaling.warm_pool_plan import COMING, COMING_PROCEED, COMING_WAIT, WarmPlan
from stead_controller.resources.scaling.warm_pools import HIBERNATED, RUNNING, STOPPED


@dataclass(slots=True)
class WarmPoolStep:
    """The warm pool of a group in a step; `hooked` tells whether instances wait when they come, and when they end."""

    tx: Transaction
    cloud: Cloud
    group: ScalingGroup
    pool: WarmPool
    now: datetime
    hooked: tuple[bool, bool]
    look_again: Callable[[datetime], None]

    @property
    def target(self) -> str:
        """The lifecycle state of an instance that is ready."""
        return f"{WARMED}{self.pool.state}"

    def settle(self, decided: WarmPlan, rows: Mapping[str, ScalingInstance]) -> None:
        """Let instances go on towards readiness."""
        for member_id in decided.launched:
            row = rows[member_id]
            if self.hooked[0]:
                activity = activities.find(self.tx, row.activity_id)
                if activity is not None:
                    activities.move(activity, activities.IN_HOOK)
                self._wait(row, INTO_POOL)
            else:
                self._pass(row)
        for member_id in decided.passing:
            self._pass(rows[member_id])
        for member_id in decided.settled:
            self._settled(rows[member_id])

    def _wait(self, row: ScalingInstance, way: Way) -> None:
        row.lifecycle_state, row.since = COMING_WAIT, self.now
        self.look_again(lifecycle_hooks.begin(self.tx, row, way, self.now))

    def _pass(self, row: ScalingInstance) -> None:
        """Stop an instance whose hooks are over, or have it ready at once."""
        lifecycle_hooks.forget(self.tx, row)
        if self.pool.state == RUNNING:
            self._ready(row, RUNNING)
            return
        row.lifecycle_state, row.since = COMING_PROCEED, self.now
        instance = self.tx.session.get_one(Instance, row.instance_id)
        if self.pool.state != HIBERNATED or not self._hibernates(instance):
            stop_instances.stop(self.tx, instance, self.now)

    def _hibernates(self, instance: Instance) -> bool:
        """Hibernate an instance; tell whether it can, for which there must be room for its memory."""
        try:
            with undone_on(self.tx, SteadError):
                caller = owner(self.cloud, self.group)
                hibernation.hibernate_instances(self.tx, caller, self.cloud, [instance.id], self.now)
        except SteadError:
            return False
        return True

    def _settled(self, row: ScalingInstance) -> None:
        instance = self.tx.session.get_one(Instance, row.instance_id)
        self._ready(row, HIBERNATED if instance.memory_saved else STOPPED)

    def _ready(self, row: ScalingInstance, state: str) -> None:
        activity = activities.find(self.tx, row.activity_id)
        if activity is not None:
            activities.end(activity, self.now)
        row.lifecycle_state, row.since, row.until, row.activity_id = f"{WARMED}{state}", self.now, None, None
        self.pool.failures, self.pool.retry_at = 0, None

    def give_back(self, row: ScalingInstance, cause: str) -> None:
        """Take an instance from the group; its hooks for the end come before it is stopped."""
        event = Event(words.returning(row.instance_id), cause, row.instance_id, {"Availability Zone": row.zone})
        row.activity_id = activities.begin(self.tx, self.group, event, activities.IN_PROGRESS, self.now).id
        row.in_service, row.until = None, None
        close_measuring.stop(self.tx, [row.instance_id])
        target_states.show(self.tx, row.instance_id, self.target)
        if self.hooked[1]:
            self._wait(row, BACK_TO_POOL)
        else:
            self._pass(row)

    def start(self, row: ScalingInstance, cause: str) -> bool:
        """Take an instance into the group, and start it if it is off; tell whether there was room for that."""
        instance = self.tx.session.get_one(Instance, row.instance_id)
        target_states.show(self.tx, row.instance_id, IN_SERVICE)
        if instance.state == "stopped":
            try:
                with undone_on(self.tx, SteadError):
                    start_instances.start(self.tx, self.cloud, instance, self.now)
            except SteadError:
                target_states.show(self.tx, row.instance_id, row.lifecycle_state)
                return False
        place = {"Subnet ID": instance.subnet_id, "Availability Zone": row.zone}
        event = Event(words.from_pool(row.instance_id), cause, row.instance_id, place)
        activity = activities.begin(self.tx, self.group, event, activities.STARTING, self.now)
        row.lifecycle_state, row.since, row.until, row.activity_id = "Pending", self.now, None, activity.id
        self.look_again(self.now)  # one that runs serves at once
        close_measuring.settle(self.tx, self.group, [row.instance_id])
        return True

    def fill(self, launcher: Launcher, decided: WarmPlan, before: int) -> None:
        """Launch what is missing of a pool that has so many."""
        if not decided.launches:
            return
        made, refusal = launcher.launch(decided.launches, only_there=False)
        cause = words.at(self.now, words.warmed(before, before + sum(decided.launches.values())))
        for one in made:
            self._add(one, cause)
        if refusal is None:
            return
        place = {"Availability Zone": ", ".join(decided.launches)}
        failed = f"Launching a new EC2 instance into warm pool.  Status Reason: {refusal} {words.REFUSED}"
        activities.note(
            self.tx, self.group, Event(failed, cause, None, place), self.now, failure=f"{refusal} {words.REFUSED}"
        )
        self.pool.failures += 1
        self.pool.retry_at = self.now + plan.pause_after(self.pool.failures)
        self.look_again(self.pool.retry_at)

    def _add(self, made: Launched, cause: str) -> None:
        place = {"Subnet ID": made.subnet, "Availability Zone": made.zone}
        event = Event(words.into_pool(made.id), cause, made.id, place)
        activity = activities.begin(self.tx, self.group, event, activities.STARTING, self.now)
        row = member_row(self.group, made.id, made.zone, made.instance_type, self.now, origin=made.origin)
        row.lifecycle_state, row.activity_id = COMING, activity.id
        self.tx.session.add(row)
