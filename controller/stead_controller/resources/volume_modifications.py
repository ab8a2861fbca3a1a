"""Modifications of volumes: there are none yet, so no volume has a latest one."""

from collections.abc import Sequence
from typing import Final

from stead_controller.db.tables import Volume
from stead_controller.errors import NotFound
from stead_controller.resources import lookup
from stead_controller.resources.caller import Caller
from stead_controller.resources.transaction import Transaction

FILTERS: Final = frozenset(
    {
        "modification-state",
        "original-iops",
        "original-size",
        "original-volume-type",
        "originalMultiAttachEnabled",
        "start-time",
        "target-iops",
        "target-size",
        "target-volume-type",
        "targetMultiAttachEnabled",
        "volume-id",
    }
)


def require(tx: Transaction, caller: Caller, volume_ids: Sequence[str]) -> None:
    """Check the volumes that a request names; raises MalformedId, NotFound.

    EC2 refuses a volume that was never modified, too, and with a code of its own.
    """
    lookup.require(tx, "volume", Volume.id, volume_ids, Volume.account_id == caller.account_id)
    if volume_ids:
        raise NotFound("volume-modification", volume_ids, code="InvalidVolumeModification.NotFound")
