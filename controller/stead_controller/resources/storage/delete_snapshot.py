"""DeleteSnapshot."""

from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import Image, ImageBlockDevice
from stead_controller.errors import InUse
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import snapshot_life, snapshot_usage, snapshots


def delete(tx: Transaction, caller: Caller, snapshot_id: str, now: datetime) -> None:
    """Delete one of the caller's snapshots; volumes that were made of it keep their content.

    Images that other accounts made from it while it was shared do not prevent that and are not mentioned: they can no
    longer be launched. Raises MalformedId, NotFound, InUse while an image of the caller uses it.
    """
    snapshot = snapshots.find_own(tx, caller, snapshot_id)
    images = (
        select(Image.id)
        .join(ImageBlockDevice, ImageBlockDevice.image_id == Image.id)
        .where(
            ImageBlockDevice.snapshot_id == snapshot.id,
            Image.state != "deregistered",
            Image.account_id == snapshot.account_id,
        )
        .limit(1)
    )
    image_id = tx.session.scalar(images)
    if image_id is not None:
        raise InUse(f"The snapshot {snapshot.id} is currently in use by {image_id}", code="InvalidSnapshot.InUse")
    snapshot_life.delete_snapshot(tx, snapshot)
    snapshot_usage.end(tx, snapshot, now)
