"""Block device mappings of images as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.storage.block_devices import ImageDevice


def block_device_view(device: ImageDevice) -> Result:
    """Show a mapping of an image."""
    if device.no_device:
        return {"DeviceName": device.device_name, "NoDevice": ""}
    if device.virtual_name:
        return {"DeviceName": device.device_name, "VirtualName": device.virtual_name}
    return {
        "DeviceName": device.device_name,
        "Ebs": {
            "SnapshotId": device.snapshot_id,
            "VolumeSize": device.volume_size,
            "VolumeType": device.volume_type,
            "Iops": device.iops,
            "Throughput": device.throughput,
            "DeleteOnTermination": device.delete_on_termination,
            "Encrypted": device.encrypted,
        },
    }
