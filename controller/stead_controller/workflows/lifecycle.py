"""Runs lifecycle policies: due schedules make snapshots, and delete those that are too many or too old.

A run missed because no controller was running is done later, once. Only complete snapshots are counted, so a new one
that fails never causes the deletion of an old one.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import (
    Instance,
    LifecyclePolicy,
    LifecycleSchedule,
    LifecycleSnapshot,
    Snapshot,
    Tag,
    Volume,
)
from stead_controller.errors import SteadError
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.storage import create_snapshots, delete_snapshot, lifecycle_rules
from stead_controller.resources.storage.create_snapshots import OfInstance, OfVolume
from stead_controller.resources.storage.lifecycle_rules import Rules, Schedule

_log = logging.getLogger(__name__)

TARGETS_AT_ONCE: Final = 20
"""How many targets are snapshot in one transaction, which others wait for."""

_CHECK_AGAIN: Final = timedelta(minutes=1)
_CHECK_AGES: Final = timedelta(hours=1)


def run_one(tx: Transaction, now: datetime) -> bool:
    """Run one due schedule; tells whether there was one."""
    due = tx.session.scalar(
        select(LifecycleSchedule).where(LifecycleSchedule.next_run <= now).order_by(LifecycleSchedule.next_run).limit(1)
    )
    if due is not None:
        _run(tx, due, now)
        return True
    due = tx.session.scalar(
        select(LifecycleSchedule)
        .where(LifecycleSchedule.next_check <= now)
        .order_by(LifecycleSchedule.next_check)
        .limit(1)
    )
    if due is None:
        return False
    _, schedule = _read(tx, due)
    due.next_check = _retain(tx, due, schedule, now)
    return True


def _run(tx: Transaction, due: LifecycleSchedule, now: datetime) -> None:
    """Snapshot some targets of a schedule, and set when it is due again, which is at once while some are left."""
    policy = tx.session.get_one(LifecyclePolicy, due.policy_id)
    rules, schedule = _read(tx, due)
    caller = _caller(policy)
    targets = _targets(tx, policy.account_id, rules, due.cursor or "")
    for target_id in targets:
        try:
            with tx.savepoint():
                made = _snapshot(tx, caller, rules, schedule, policy.id, target_id, now)
                tx.session.add_all(
                    LifecycleSnapshot(snapshot_id=one, policy_id=policy.id, schedule_name=schedule.name) for one in made
                )
        except SteadError as error:  # a target that cannot be snapshotted now does not prevent the others
            _log.warning(
                "lifecycle_target_failed", extra={"policy": policy.id, "target": target_id, "error": error.message}
            )
    due.cursor = targets[-1] if len(targets) == TARGETS_AT_ONCE else None
    if due.cursor is None:
        due.next_run = schedule.next_after(now)
        due.next_check = now
    tx.session.flush()


def _read(tx: Transaction, due: LifecycleSchedule) -> tuple[Rules, Schedule]:
    policy = tx.session.get_one(LifecyclePolicy, due.policy_id)
    rules = lifecycle_rules.read(json.loads(policy.details))
    return rules, next(schedule for schedule in rules.schedules if schedule.name == due.name)


def _caller(policy: LifecyclePolicy) -> Caller:
    """Return the policy's own account as the caller."""
    return Caller(policy.account_id, policy.execution_role_arn, policy.account_id, "")


def _targets(tx: Transaction, account_id: str, rules: Rules, after: str) -> list[str]:
    """Return the first ids after another, sorted, of resources that have one of the target tags."""
    resource_type = "instance" if rules.of_instances else "volume"
    found: set[str] = set()
    for key, value in rules.targets:
        tagged = select(Tag.resource_id).where(
            Tag.account_id == account_id, Tag.key == key, Tag.value == value, Tag.resource_type == resource_type
        )
        if rules.of_instances:
            alive = select(Instance.id).where(Instance.id.in_(tagged), Instance.state.in_(("running", "stopped")))
            later = alive.where(Instance.id > after).order_by(Instance.id)
        else:
            usable = select(Volume.id).where(Volume.id.in_(tagged), Volume.state.in_(("available", "in-use")))
            later = usable.where(Volume.id > after).order_by(Volume.id)
        found.update(tx.session.scalars(later.limit(TARGETS_AT_ONCE)))
    return sorted(found)[:TARGETS_AT_ONCE]


def _snapshot(  # noqa: PLR0917 - one snapshot depends on all of these
    tx: Transaction, caller: Caller, rules: Rules, schedule: Schedule, policy_id: str, target_id: str, now: datetime
) -> list[str]:
    """Begin the snapshots of one target and return their ids."""
    description = f"Created for policy: {policy_id} schedule: {schedule.name}"
    added = {
        **dict(schedule.tags),
        "aws:dlm:lifecycle-policy-id": policy_id,
        "aws:dlm:lifecycle-schedule-name": schedule.name,
        "dlm:managed": "true",
    }
    if rules.of_instances:
        asked = OfInstance(
            target_id,
            description,
            exclude_boot_volume=rules.exclude_boot_volume,
            copy_tags=schedule.copy_tags,
            tags=added,
        )
        return [one.snapshot.id for one in create_snapshots.of_instance(tx, caller, asked, now)]
    copied = tags.pairs_of(tx, caller.account_id, [target_id]).get(target_id, ()) if schedule.copy_tags else ()
    own = {key: value for key, value in copied if not key.startswith("aws:")}
    made = create_snapshots.of_volume(tx, caller, OfVolume(target_id, description, own | added), now)
    return [made.snapshot.id]


def _retain(tx: Transaction, due: LifecycleSchedule, schedule: Schedule, now: datetime) -> datetime | None:
    """Delete snapshots that are too many or too old; return when to check again."""
    rows = list(
        tx.session.scalars(
            select(Snapshot)
            .join(LifecycleSnapshot, LifecycleSnapshot.snapshot_id == Snapshot.id)
            .where(
                LifecycleSnapshot.policy_id == due.policy_id,
                LifecycleSnapshot.schedule_name == due.name,
                Snapshot.state.in_(("pending", "completed")),
            )
            .order_by(Snapshot.started.desc(), Snapshot.id)
        )
    )
    policy = tx.session.get_one(LifecyclePolicy, due.policy_id)
    for snapshot in _too_many(rows, schedule, now):
        try:
            delete_snapshot.delete(tx, _caller(policy), snapshot.id, now)
        except SteadError as error:  # an image uses it: it is retained until that ends
            _log.warning("lifecycle_snapshot_stays", extra={"snapshot": snapshot.id, "error": error.message})
    if any(snapshot.state == "pending" for snapshot in rows):
        return now + _CHECK_AGAIN
    return now + _CHECK_AGES if schedule.keep_days is not None and rows else None


def _too_many(rows: Iterable[Snapshot], schedule: Schedule, now: datetime) -> Sequence[Snapshot]:
    """Return the complete snapshots, the newest first, that exceed the count or the age."""
    complete = [snapshot for snapshot in rows if snapshot.state == "completed"]
    if schedule.keep_days is not None:
        oldest = now - timedelta(days=schedule.keep_days)
        return [snapshot for snapshot in complete if snapshot.started < oldest]
    of_volume: defaultdict[str, list[Snapshot]] = defaultdict(list)
    for snapshot in complete:
        of_volume[snapshot.volume_id].append(snapshot)
    return [snapshot for newest_first in of_volume.values() for snapshot in newest_first[schedule.keep_count :]]
