"""What good requests about one instance need: see `base_requests.py`."""

from datetime import UTC, datetime
from typing import Any, Final

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    EventWindowTarget,
    Instance,
    InstanceEvent,
    InstanceEventWindow,
    SnapshotTier,
    Volume,
)
from stead_controller.request.transaction import Transaction
from tests.support import rows

_LATER: Final = datetime(2097, 1, 1, tzinfo=UTC)
_NIGHTS: Final = "* 0-4 * * *"
_WINDOW: Final = {"InstanceEventWindowId": "{event_window}"}
_RANGE: Final = {"StartWeekDay": "monday", "StartHour": 2, "EndWeekDay": "monday", "EndHour": 8}

BASES: Final[dict[str, dict[str, Any]]] = {
    "AssociateInstanceEventWindow": _WINDOW | {"AssociationTarget": {"InstanceIds": ["{stopped}"]}},
    "CreateInstanceEventWindow": {"CronExpression": _NIGHTS},
    "DeleteInstanceEventWindow": _WINDOW | {"ForceDelete": True},
    "DescribeInstanceEventWindows": {"InstanceEventWindowIds": ["{event_window}"]},
    "DisassociateInstanceEventWindow": _WINDOW | {"AssociationTarget": {"InstanceIds": ["{instance}"]}},
    "ModifyInstanceEventWindow": _WINDOW | {"CronExpression": _NIGHTS},
    "CreateReplaceRootVolumeTask": {"SnapshotId": "{of_root}"},
    "DescribeSnapshotTierStatus": {"Filters": [{"Name": "snapshot-id", "Values": ["{archived}"]}]},
    "ModifySnapshotTier": {"SnapshotId": "{of_root}", "StorageTier": "archive"},
    "RestoreSnapshotTier": {"SnapshotId": "{archived}", "PermanentRestore": True},
    "ModifyDefaultCreditSpecification": {"InstanceFamily": "t3", "CpuCredits": "standard"},
    "ModifyInstanceCpuOptions": {"InstanceId": "{stopped}", "CoreCount": 1, "ThreadsPerCore": 1},
    "ModifyInstanceEventStartTime": {"InstanceEventId": "{event}", "NotBefore": _LATER},
    "ModifyInstanceMaintenanceOptions": {"AutoRecovery": "disabled"},
    "ModifyInstanceMetadataDefaults": {"HttpTokens": "required"},
    "ModifyInstanceCreditSpecification": {
        "InstanceCreditSpecifications": [{"InstanceId": "{stopped}", "CpuCredits": "unlimited"}]
    },
}

VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    **{
        (f"{verb}InstanceEventWindow", f"TimeRanges.{member}"): value
        for verb in ("Create", "Modify")
        for member, value in _RANGE.items()
    },
    ("DescribeInstanceEventWindows", "MaxResults"): 20,
    ("CreateReplaceRootVolumeTask", "ImageId"): "{large_image}",
    ("CreateReplaceRootVolumeTask", "SnapshotId"): "{of_root}",
    ("CreateReplaceRootVolumeTask", "VolumeId"): "{free_volume}",
    ("ModifySnapshotTier", "SnapshotId"): "{of_root}",
    ("ModifySnapshotTier", "StorageTier"): "archive",
    ("RestoreSnapshotTier", "SnapshotId"): "{archived}",
    ("RestoreSnapshotTier", "TemporaryRestoreDays"): 3,
    ("ModifyInstanceEventStartTime", "InstanceEventId"): "{event}",
    ("ModifyInstanceEventStartTime", "NotBefore"): _LATER,
}


COMPANIONS: Final[dict[str, dict[str, Any]]] = {
    f"{verb}InstanceEventWindow TimeRanges": _RANGE for verb in ("Create", "Modify")
}

# Members of base requests that go where another member comes: see `base_requests.py`.
INSTEAD: Final[dict[str, tuple[tuple[str, ...], dict[str, Any]]]] = {
    f"{verb}InstanceEventWindow": (("CronExpression",), {"Name": BASES["CreateInstanceEventWindow"]})
    for verb in ("Create", "Modify")
} | {"RestoreSnapshotTier": (("PermanentRestore",), {"SnapshotId": "{archived}"})}


def build(tx: Transaction, instance: Instance) -> dict[str, str]:
    """Add what an instance's root volume may be replaced by, and an event; gives ids by what requests call them."""
    device = Volume.device_name == instance.root_device_name
    root = tx.session.query(Volume).filter(Volume.instance_id == instance.id, device).one()
    of_root = rows.snapshot(instance.account_id, volume_id=root.id)
    large = rows.image(account_id=instance.account_id, name="large", public=False, virtual_size=8 << 30)
    archived = rows.snapshot(instance.account_id, storage_tier="archive")
    tx.session.add_all([of_root, large, archived])
    tx.session.flush()
    tx.session.add(
        SnapshotTier(
            snapshot_id=archived.id,
            operation="archival",
            status="completed",
            operation_id=archived.id,
            started=rows.NOW,
            archived=rows.NOW,
        )
    )
    tx.session.add_all([rows.image_device(large), rows.image_snapshot(large)])
    made = {"event": _event(tx, instance), "event_window": _event_window(tx, instance)}
    return {"of_root": of_root.id, "archived": archived.id, "large_image": large.id, **made}


def _event_window(tx: Transaction, instance: Instance) -> str:
    """Add an event window of an instance."""
    own = {"account_id": instance.account_id}
    window = InstanceEventWindow(id=ids.new_id("instance-event-window"), **own, time_ranges=[], cron_expression=_NIGHTS)
    target = EventWindowTarget(**own, kind="instance", name=instance.id, value="", window_id=window.id)
    tx.session.add(window)
    tx.session.flush()
    tx.session.add(target)
    return str(window.id)


def _event(tx: Transaction, instance: Instance) -> str:
    """Add a scheduled event that may be moved to `_LATER`."""
    event = InstanceEvent(
        id=ids.new_id("instance-event"),
        account_id=instance.account_id,
        instance_id=instance.id,
        host_id=instance.host_id,
        code="instance-stop",
        description="d",
        state="active",
        not_before=_LATER.replace(year=2098),
        not_before_deadline=_LATER.replace(year=2099),
    )
    tx.session.add(event)
    return str(event.id)
