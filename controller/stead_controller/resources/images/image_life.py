"""The life cycle of images: deprecate, disable, protect, deregister."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from stead_controller.db.tables import Image, ImageBlockDevice, Snapshot
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.images import image_attributes, images
from stead_controller.resources.storage import block_devices, snapshot_damage, snapshot_life, snapshot_usage, snapshots

_LATEST: Final = timedelta(days=3653)  # 10 years
_LATEST_OF_PUBLIC: Final = timedelta(days=731)  # 2 years
_COOLDOWN: Final = timedelta(hours=24)
_MINUTE: Final = timedelta(minutes=1)
_WITH_COOLDOWN: Final = "enabled-with-cooldown"
_WITHOUT_COOLDOWN: Final = "enabled-without-cooldown"


@dataclass(frozen=True, slots=True)
class SnapshotDeletion:
    """The result of deleting a snapshot of a deregistered image; `return_code` is EC2's."""

    snapshot_id: str
    return_code: str


def deprecate(tx: Transaction, caller: Caller, image_id: str, moment: datetime, now: datetime) -> None:
    """Hide an image from other accounts' lists from a time on, which is rounded to the nearest minute.

    A public one is deprecated 2 years after its creation at the latest. Raises MalformedId, NotFound, NotAuthorized,
    InvalidParameter for a time that has passed or is too far away.
    """
    image = images.find_own(tx, caller, image_id)
    latest = image.created + _LATEST_OF_PUBLIC if image.public else now + _LATEST
    if not now < moment <= latest:
        within = "2 years of the creation of a public image" if image.public else "10 years"
        raise InvalidParameter(
            f"Value ({images.iso(moment)}) for parameter DeprecateAt is invalid. It must come within {within}."
        )
    whole = moment.replace(second=0, microsecond=0)
    image.deprecate_at = whole + _MINUTE if moment - whole >= _MINUTE / 2 else whole


def undeprecate(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Take a deprecation back; raises MalformedId, NotFound, NotAuthorized."""
    images.find_own(tx, caller, image_id).deprecate_at = None


def disable(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Disable launches of an image, and remove its sharing permanently; raises as `enable`."""
    image = images.find_own(tx, caller, image_id)
    if image.state not in ("available", "disabled"):
        raise WrongState("image", f"The image ID '{image_id}' is not available; its state is {image.state}.")
    image.state = "disabled"
    image_attributes.remove_permissions(tx, image)


def enable(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Enable a disabled image for its owner; raises MalformedId, NotFound, NotAuthorized, WrongState."""
    image = images.find_own(tx, caller, image_id)
    if image.state not in ("available", "disabled"):
        raise WrongState("image", f"The image ID '{image_id}' is not disabled; its state is {image.state}.")
    for device in block_devices.of_image(tx, image.id):
        snapshot = tx.session.get(Snapshot, device.snapshot_id) if device.snapshot_id is not None else None
        if snapshot is not None:
            snapshots.require_restored(snapshot)
    image.state = "available"
    if snapshot_damage.lacks_data(tx, image.id):
        image.state, image.state_reason = "error", snapshot_damage.OF_IMAGE


def protect(tx: Transaction, caller: Caller, image_id: str, *, cooldown: bool) -> str:
    """Protect an image from deregistration and return EC2's state; raises MalformedId, NotFound, NotAuthorized."""
    image = images.find_own(tx, caller, image_id)
    image.deregistration_protection = _WITH_COOLDOWN if cooldown else _WITHOUT_COOLDOWN
    image.protected_until = None
    return image.deregistration_protection


def unprotect(tx: Transaction, caller: Caller, image_id: str, now: datetime) -> str:
    """End an image's deregistration protection, after a day if it has a cool-down, and return EC2's state.

    Raises MalformedId, NotFound, NotAuthorized.
    """
    image = images.find_own(tx, caller, image_id)
    if image.deregistration_protection == _WITH_COOLDOWN:
        image.protected_until = now + _COOLDOWN
    image.deregistration_protection = "disabled"
    return image.deregistration_protection


def deregister(
    tx: Transaction, caller: Caller, image_id: str, now: datetime, *, with_snapshots: bool = False
) -> list[SnapshotDeletion]:
    """Deregister an image and, if requested, delete its snapshots; returns the result of each.

    The snapshots of a pending image continue. Raises MalformedId, NotFound, NotAuthorized, WrongState where it is
    protected.
    """
    image = images.find_own(tx, caller, image_id)
    _check_unprotected(image, now)
    snapshot_ids = [device.snapshot_id for device in block_devices.of_image(tx, image.id) if device.snapshot_id]
    forget(tx, image)
    if not with_snapshots:
        return []
    return [
        SnapshotDeletion(snapshot_id, _delete(tx, caller, snapshot_id, now))
        for snapshot_id in dict.fromkeys(snapshot_ids)
    ]


def _delete(tx: Transaction, caller: Caller, snapshot_id: str, now: datetime) -> str:
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.account_id != caller.account_id:
        return "missing-permissions"
    return "success" if delete_unused(tx, snapshot, now) else "skipped"


def delete_unused(tx: Transaction, snapshot: Snapshot, now: datetime) -> bool:
    """Delete a snapshot unless another image uses it, and return whether it was deleted."""
    used = select(ImageBlockDevice.image_id).where(ImageBlockDevice.snapshot_id == snapshot.id).limit(1)
    if tx.session.scalar(used) is not None:
        return False
    snapshot_life.delete_snapshot(tx, snapshot)
    snapshot_usage.end(tx, snapshot, now)
    return True


def _check_unprotected(image: Image, now: datetime) -> None:
    """Raise WrongState for an image that may not be deregistered now."""
    until = image.protected_until
    if until is not None and now < until:
        end = f" until {images.iso(until)}"
    elif image.deregistration_protection != "disabled":
        end = ""
    else:
        return
    raise WrongState(
        "image", f"The image ID '{image.id}' is protected from deregistration{end}.", code="OperationNotPermitted"
    )


def forget(tx: Transaction, image: Image) -> None:
    """Remove an image's rows and all accounts' tags of it."""
    tags.remove_all(tx, [image.id])
    tx.session.execute(delete(Image).where(Image.id == image.id))
