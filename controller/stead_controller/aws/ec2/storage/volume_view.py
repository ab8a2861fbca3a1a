"""Volumes, their attachments and their attributes, as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.errors import InvalidParameter
from stead_controller.resources.storage.volume_status import VolumeAttributes
from stead_controller.resources.storage.volumes import AttachedVolume, DescribedVolume


def volume_view(found: DescribedVolume) -> Result:
    """Show a volume."""
    volume = found.volume
    return {
        "VolumeId": volume.id,
        "OwnerId": volume.account_id,
        "State": found.state,
        "Size": volume.size,
        "VolumeType": volume.volume_type,
        "Iops": volume.iops,
        "Throughput": volume.throughput,
        "Encrypted": volume.encrypted,
        "KmsKeyId": volume.kms_key_id,
        "SnapshotId": volume.made_of or "",
        "AvailabilityZone": volume.zone,
        "AvailabilityZoneId": found.zone_id,
        "CreateTime": volume.created,
        "MultiAttachEnabled": False,
        "Operator": {"Managed": False},
        "Attachments": [attachment_view(volume)] if volume.instance_id is not None else [],
        "Tags": tags_view(found.tags) or None,
    }


def attachment_view(volume: AttachedVolume) -> Result:
    """Show the attachment of a volume."""
    return {
        "VolumeId": volume.id,
        "InstanceId": volume.instance_id,
        "Device": volume.device_name,
        "State": volume.attachment_state,
        "AttachTime": volume.attach_time,
        "DeleteOnTermination": volume.delete_on_termination,
    }


def attribute_view(found: VolumeAttributes, attribute: str) -> Result:
    """Show one attribute of a volume by EC2's name of it; raises InvalidParameter."""
    match attribute:
        case "autoEnableIO":
            return {"VolumeId": found.volume_id, "AutoEnableIO": {"Value": found.auto_enable_io}}
        case "productCodes":
            return {"VolumeId": found.volume_id, "ProductCodes": []}
    raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")
