"""Tasks of another account, and what is scheduled for its instance: rows that nobody else may see."""

from typing import Any

from stead_controller.catalog import ids
from stead_controller.db.tables import ImageTask, InstanceEvent, ReplaceRootVolumeTask
from stead_controller.request.transaction import Transaction
from tests.api.conftest import Api
from tests.support import rows


def their_tasks(api: Api, instance_id: str) -> dict[str, str]:
    """Tasks of the other tenant, which has replaced a root volume, and what is scheduled for its instance."""

    def replacement(tx: Transaction) -> str:
        values: dict[str, Any] = {
            "account_id": api.world.other.caller.account_id,
            "instance_id": instance_id,
            "state": "succeeded",
        }
        times: dict[str, Any] = {"state_changed": rows.NOW, "started": rows.NOW}
        volumes = {name: ids.new_id("volume") for name in ("old_volume_id", "new_volume_id")}
        row = ReplaceRootVolumeTask(id=ids.new_id("replace-root-volume-task"), **values, **times, **volumes)
        tx.session.add(row)
        return str(row.id)

    def event(tx: Transaction) -> str:
        values: dict[str, Any] = {
            "account_id": api.world.other.caller.account_id,
            "instance_id": instance_id,
            "state": "active",
        }
        about: dict[str, Any] = {
            "host_id": api.world.host_id,
            "code": "instance-stop",
            "description": "d",
            "not_before": rows.NOW,
        }
        row = InstanceEvent(id=ids.new_id("instance-event"), **values, **about)
        tx.session.add(row)
        return str(row.id)

    return {
        **their_image_tasks(api),
        "instance-event": api.run(event),
        "instance-event-window": api.other.create_instance_event_window(CronExpression="* 0-4 * * *")[
            "InstanceEventWindow"
        ]["InstanceEventWindowId"],
        "replace-root-volume-task": api.run(replacement),
    }


def their_image_tasks(api: Api) -> dict[str, str]:
    """Imports and an export of the other tenant, under way."""
    place = {"Format": "RAW", "UserBucket": {"S3Bucket": "exchange", "S3Key": "disk"}}
    image_task = api.other.import_image(DiskContainers=[place])
    snapshot_task = api.other.import_snapshot(DiskContainer=place)

    def export_task(tx: Transaction) -> str:
        values: dict[str, Any] = {
            "account_id": api.world.other.caller.account_id,
            "kind": "export-image-task",
            "state": "active",
        }
        row = ImageTask(id=ids.new_id("export-image-task"), format="raw", location="", created=rows.NOW, **values)
        tx.session.add(row)
        return str(row.id)

    return {
        "export-image-task": api.run(export_task),
        "import-image-task": image_task["ImportTaskId"],
        "import-snapshot-task": snapshot_task["ImportTaskId"],
    }
