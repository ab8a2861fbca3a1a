"""The steps by which a task replaces the root volume of an instance, each of which may be repeated.

The new volume is made while the guest runs. Then the volumes are exchanged in the machine's desired state, which is
another start: the host ends the guest, as for a reboot, and starts it with the new volume; its instance store and its
CPU credits stay.
The instance is `running` all the time. Where the host cannot start it, the old volume is exchanged back.
"""

import enum
import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, exists, or_, select

from stead_controller.db.tables import HostError, Instance, ReplaceRootVolumeTask, Volume
from stead_controller.desired import desired_state
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.storage import snapshot_damage, volume_life

_log = logging.getLogger(__name__)

REPLACE: Final = "replace-root-volume"
"""The kind of workflow that carries out a task; its subject is the task."""

SUCCEEDED: Final = "succeeded"
_PENDING: Final = "pending"
_IN_PROGRESS: Final = "in-progress"
_FAILING: Final = "failing"
_FAILED: Final = "failed"
_FAILED_DETACHED: Final = "failed-detached"
ACTIVE: Final = (_PENDING, _IN_PROGRESS, _FAILING)


class Step(enum.Enum):
    """What comes next for a task."""

    WAIT = "the same again, later"
    EXCHANGE = "exchange the volumes when the new one is made"
    WATCH = "wait for the start with the new volume"
    RESTORE = "wait for the start with the old volume"
    CLEAN = "delete the volume that is not needed"
    OVER = "nothing"


_NEXT: Final = {_PENDING: Step.EXCHANGE, _IN_PROGRESS: Step.WATCH, _FAILING: Step.RESTORE}


def exchange(tx: Transaction, task_id: str, now: datetime, patience: timedelta) -> Step:
    """Exchange the volumes of a pending task, once the new one is made; a host with errors has `patience` for that."""
    task = tx.session.get(ReplaceRootVolumeTask, task_id)
    if task is None or task.state != _PENDING:
        return _after(task)
    instance, new = tx.session.get(Instance, task.instance_id), tx.session.get(Volume, task.new_volume_id)
    old = tx.session.get(Volume, task.old_volume_id)
    if instance is None or instance.state != "running" or old is None or old.instance_id != instance.id:
        return _end(task, _FAILED, now, "The instance does not run with its root volume any more.")
    if new is None or new.instance_id is not None or new.state not in (volume_life.CREATING, "available"):
        return _end(task, _FAILED, now, "The new volume is not available any more.")
    if new.state == volume_life.CREATING:
        is_late = now >= task.state_changed + patience and _has_error(tx, new)
        if is_late or snapshot_damage.volume_lacks_data(tx, new.id):
            return _end(task, _FAILED, now, "The new volume could not be made.")
        return Step.WAIT
    task.state, task.state_changed = _IN_PROGRESS, now
    _swap(tx, instance, old, new, now)
    if task.image_id is not None:
        instance.image_id = task.image_id
    _send(tx, instance, new)
    return Step.WATCH


def watch(tx: Transaction, task_id: str, now: datetime, patience: timedelta) -> Step:
    """End a task whose instance has the new volume; after an error of its host that lasts, give the old one back."""
    task = tx.session.get(ReplaceRootVolumeTask, task_id)
    if task is None or task.state != _IN_PROGRESS:
        return _after(task)
    instance, new = tx.session.get(Instance, task.instance_id), tx.session.get(Volume, task.new_volume_id)
    if instance is None or instance.state in desired_state.ENDED:
        return _end(task, _FAILED, now, "The instance was terminated.")
    if new is None or new.instance_id != instance.id or new.attachment_state in volume_attachments.DETACHING:
        return _end(task, _FAILED_DETACHED, now, "The new volume was detached.")
    if new.attachment_state == "attached":
        return _end(task, SUCCEEDED, now)
    if instance.host_error and now >= task.state_changed + patience and _give_back(tx, task, instance, new, now):
        return Step.RESTORE
    return Step.WAIT


def restore(tx: Transaction, task_id: str, now: datetime, patience: timedelta) -> Step:
    """End a failing task when its instance has the old volume again."""
    del patience  # the instance has nothing else: it waits for the old volume as long as that takes
    task = tx.session.get(ReplaceRootVolumeTask, task_id)
    if task is None or task.state != _FAILING:
        return _after(task)
    instance, old = tx.session.get(Instance, task.instance_id), tx.session.get(Volume, task.old_volume_id)
    if instance is None or instance.state in desired_state.ENDED:
        return _end(task, _FAILED, now)
    if old is None or old.instance_id != instance.id or old.attachment_state in volume_attachments.DETACHING:
        return _end(task, _FAILED_DETACHED, now)
    return _end(task, _FAILED, now) if old.attachment_state == "attached" else Step.WAIT


def clean(tx: Transaction, task_id: str, now: datetime, patience: timedelta) -> Step:
    """Delete the volume that a task leaves over, once it is released: the old one if requested, or a failed new one."""
    del patience
    task = tx.session.get(ReplaceRootVolumeTask, task_id)
    if task is None or task.state in ACTIVE:
        return _after(task)
    is_done = task.state == SUCCEEDED
    if not (task.delete_replaced if is_done else not task.is_own_volume):
        return Step.OVER
    volume = tx.session.get(Volume, task.old_volume_id if is_done else task.new_volume_id)
    if volume is None or volume.state == "deleting":
        return Step.OVER
    if volume.instance_id is None:
        volume_life.begin_deletion(tx, volume, now)
        return Step.OVER
    is_leaving = volume.instance_id == task.instance_id and volume.attachment_state in volume_attachments.DETACHING
    return Step.WAIT if is_leaving else Step.OVER


def abandon(tx: Transaction, task_id: str, message: str, now: datetime) -> None:
    """End a task that took too long; an instance whose host has not started it gets its old volume back."""
    task = tx.session.get(ReplaceRootVolumeTask, task_id)
    if task is None or task.state not in ACTIVE:
        return
    instance, new = tx.session.get(Instance, task.instance_id), tx.session.get(Volume, task.new_volume_id)
    if task.state == _IN_PROGRESS and instance is not None and new is not None:
        _give_back(tx, task, instance, new, now)
    _end(task, _FAILED, now, message)
    clean(tx, task_id, now, timedelta())


def forget(tx: Transaction, instance_ids: Collection[str]) -> None:
    """Delete the tasks of instances whose rows are deleted."""
    of_these = ReplaceRootVolumeTask.instance_id.in_(instance_ids)
    tags.remove_all(tx, list(tx.session.scalars(select(ReplaceRootVolumeTask.id).where(of_these))))
    tx.session.execute(delete(ReplaceRootVolumeTask).where(of_these))


def _after(task: ReplaceRootVolumeTask | None) -> Step:
    """Return what comes next for a task whose step was done before, as when the controller was killed after it."""
    return Step.OVER if task is None else _NEXT.get(task.state, Step.CLEAN)


def _end(task: ReplaceRootVolumeTask, state: str, now: datetime, reason: str = "") -> Step:
    task.state, task.state_changed, task.completed = state, now, now
    task.reason = reason or task.reason
    if task.reason:
        about = {"task": task.id, "instance": task.instance_id, "state": state, "reason": task.reason}
        _log.warning("root_volume_not_replaced", extra=about)
    return Step.CLEAN


def _has_error(tx: Transaction, volume: Volume) -> bool:
    """Tell whether the home of a volume reports that it cannot make it, or its base."""
    failing = exists().where(
        HostError.host_id == volume.host_id,
        or_(HostError.resource_id == volume.id, HostError.resource_id == volume.snapshot_id),
    )
    return bool(tx.session.scalar(select(failing)))


def _give_back(tx: Transaction, task: ReplaceRootVolumeTask, instance: Instance, new: Volume, now: datetime) -> bool:
    """Exchange the volumes back; False where the old one is not there any more, so that only the new one is left."""
    old = tx.session.get(Volume, task.old_volume_id)
    if old is None or old.instance_id not in (None, instance.id) or old.state not in ("in-use", "available"):
        return False
    task.state, task.state_changed, task.reason = _FAILING, now, instance.host_error[:512]
    if task.former_image_id is not None:
        instance.image_id = task.former_image_id
    _swap(tx, instance, new, old, now)
    _send(tx, instance, old)
    return True


def _swap(tx: Transaction, instance: Instance, out: Volume, into: Volume, now: datetime) -> None:
    """Detach the root volume of an instance and attach another, with which it is started anew."""
    ends = out.delete_on_termination
    volume_attachments.begin_detaching(tx, out)
    if into.instance_id == instance.id:
        into.attachment_state = "attaching"
    else:
        volume_attachments.plug(tx, into, instance, instance.root_device_name, now, state="attaching")
    into.delete_on_termination = ends
    instance.stores_since = instance.stores_since or instance.start_count
    instance.start_count += 1
    instance.ebs_at_start = None
    instance.host_error = ""
    tx.events.add(instance.id)


def _send(tx: Transaction, instance: Instance, root: Volume) -> None:
    desired_state.refresh_volume(tx, root)
    desired_state.refresh_instance(tx, instance.id)
