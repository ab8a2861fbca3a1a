"""What good requests about one instance need: see `base_requests.py`."""

from typing import Any, Final

from stead_controller.db.tables import Instance, Volume
from stead_controller.request.transaction import Transaction
from tests.support import rows

BASES: Final[dict[str, dict[str, Any]]] = {
    "CreateReplaceRootVolumeTask": {"SnapshotId": "{of_root}"},
    "ModifyDefaultCreditSpecification": {"InstanceFamily": "t3", "CpuCredits": "standard"},
    "ModifyInstanceCpuOptions": {"InstanceId": "{stopped}", "CoreCount": 1, "ThreadsPerCore": 1},
    "ModifyInstanceMaintenanceOptions": {"AutoRecovery": "disabled"},
    "ModifyInstanceMetadataDefaults": {"HttpTokens": "required"},
    "ModifyInstanceCreditSpecification": {
        "InstanceCreditSpecifications": [{"InstanceId": "{stopped}", "CpuCredits": "unlimited"}]
    },
}

VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    ("CreateReplaceRootVolumeTask", "ImageId"): "{large_image}",
    ("CreateReplaceRootVolumeTask", "SnapshotId"): "{of_root}",
    ("CreateReplaceRootVolumeTask", "VolumeId"): "{free_volume}",
}


def build(tx: Transaction, instance: Instance) -> dict[str, str]:
    """Add what an instance's root volume may be replaced by; gives ids by what requests call them."""
    device = Volume.device_name == instance.root_device_name
    root = tx.session.query(Volume).filter(Volume.instance_id == instance.id, device).one()
    of_root = rows.snapshot(instance.account_id, volume_id=root.id)
    large = rows.image(account_id=instance.account_id, name="large", public=False, virtual_size=8 << 30)
    tx.session.add_all([of_root, large])
    tx.session.flush()
    tx.session.add_all([rows.image_device(large), rows.image_snapshot(large)])
    return {"of_root": of_root.id, "large_image": large.id}
