"""Hibernation: a stop that saves the guest's memory, encrypted, on its host, and a start that goes on from there.

The room for the memory is taken from the host's default pool from the stop until the guest runs again or is gone. While
it is taken, the instance starts on that host, with the volumes and interfaces that it had.
See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/hibernating-prerequisites.html.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from stead_controller.catalog import boot_modes
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import Image, Instance
from stead_controller.desired import desired_state
from stead_controller.errors import NoCapacity, Unsupported, WrongState
from stead_controller.request import instance_types
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.instances.instance_lookup import find_instances
from stead_controller.resources.instances.instance_states import (
    USER_HIBERNATION,
    StateChange,
    change_state,
    user_initiated,
)
from stead_controller.resources.instances.launch_volumes import VolumePlan
from stead_controller.resources.instances.stop_instances import require_unprotected

_UNSUPPORTED: Final = "UnsupportedHibernationConfiguration"
_GIB: Final = 1 << 30


def check_launch(kind: InstanceType, image: Image, root: VolumePlan) -> None:
    """Raise Unsupported where an instance could not hibernate: by its type, its firmware or its root volume."""
    if not kind.hibernation:
        raise _no_hibernation(kind.name)
    if boot_modes.CURRENT[image.boot_mode] != boot_modes.LEGACY_BIOS:
        raise _unsupported(f"Instances of the image '{image.id}' boot by UEFI, with which they cannot hibernate.")
    if root.key_id is None:
        raise _unsupported("The root volume must be encrypted to enable hibernation.")
    if root.shape.size * _GIB <= kind.memory:
        raise _unsupported(
            f"The root volume of {root.shape.size} GiB is too small to store the memory of the instance type "
            f"'{kind.name}'."
        )


def hibernate_instances(
    tx: Transaction, caller: Caller, cloud: Cloud, instance_ids: Sequence[str], now: datetime
) -> list[StateChange]:
    """Hibernate running instances; those that stop or have stopped are left alone.

    Raises Unsupported for one that was not launched for it or has a type that cannot, WrongState, and NoCapacity where
    its host has no room for its memory; then nothing is changed. A guest whose memory cannot be saved is shut down
    instead.
    """
    changes = []
    for instance in find_instances(tx, caller, instance_ids):
        if not instance.hibernation:
            raise _unsupported(f"The instance '{instance.id}' is not enabled for hibernation.")
        kind = instance_types.find(tx, instance.instance_type)
        if kind is None or not kind.hibernation:  # it has got another type since its launch
            raise _no_hibernation(instance.instance_type)
        require_unprotected(instance)
        if instance.state in ("stopping", "stopped"):
            changes.append(StateChange(instance.id, instance.state, instance.state))
            continue
        if instance.state == "pending":
            raise WrongState(
                "instance",
                f"The instance '{instance.id}' is not ready to hibernate yet. Please retry in a few minutes.",
                code="UnsupportedOperation",
            )
        if instance.state != "running" or instance.host_id is None:
            raise WrongState(
                "instance", f"The instance '{instance.id}' is not in a state from which it can be stopped."
            )
        if volume_homes.reserve(tx, cloud, instance.host_id, (), instance_store=instance.memory) is None:
            raise NoCapacity("The host of this instance has not enough room for its memory now.")
        instance.force_stop = instance.hasten_stop = False
        instance.hibernate_stop = instance.memory_saved = True
        changes.append(change_state(tx, instance, "stopping", now, USER_HIBERNATION, transition=user_initiated(now)))
        desired_state.refresh_instance(tx, instance.id)
    return changes


def forget_memory(tx: Transaction, instance: Instance) -> None:
    """Release the room that is taken for an instance's memory, if any: its host has it no longer."""
    if instance.memory_saved and instance.host_id is not None:
        volume_homes.release_bytes(tx, instance.host_id, "", instance.memory)
    instance.memory_saved = False


def require_awake(instance: Instance, what: str) -> None:
    """Raise WrongState for an instance whose saved memory does not allow something, such as `change its type`."""
    if instance.memory_saved:
        words = f"The instance '{instance.id}' is hibernated. Start it before you {what}."
        raise WrongState("instance", words, code="IncorrectState")


def _no_hibernation(instance_type: str) -> Unsupported:
    return _unsupported(f"The instance type '{instance_type}' does not support hibernation.")


def _unsupported(message: str) -> Unsupported:
    return Unsupported(message, code=_UNSUPPORTED)
