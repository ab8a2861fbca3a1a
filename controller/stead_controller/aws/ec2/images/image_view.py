"""Images, their attributes and the results of deleting their snapshots, as EC2 shows them."""

from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.storage.block_device_view import block_device_view
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.owners import CLOUD_ACCOUNT, CLOUD_ALIAS
from stead_controller.resources.images import uefi_data
from stead_controller.resources.images.image_attributes import ImageAttributes, Permissions
from stead_controller.resources.images.image_life import SnapshotDeletion
from stead_controller.resources.images.images import PLATFORM, DescribedImage, iso

_REASONS: Final = {"failed": "Client.ImageFailed", "error": "Server.InternalError"}


def metadata_view(image: ImageAttributes) -> Result:
    """Show what is told of an image that an instance was launched from, whoever may still use it."""
    return {
        "ImageId": image.id,
        "Name": image.name,
        "OwnerId": image.account_id,
        "State": image.state,
        "ImageOwnerAlias": CLOUD_ALIAS if image.account_id == CLOUD_ACCOUNT else None,
        "CreationDate": iso(image.created),
        "DeprecationTime": None if image.deprecate_at is None else iso(image.deprecate_at),
        "ImageAllowed": True,
        "IsPublic": image.public,
    }


def image_view(found: DescribedImage) -> Result:
    """Show an image."""
    image = found.image
    is_clouds = image.account_id == CLOUD_ACCOUNT
    return {
        "ImageId": image.id,
        "Name": image.name,
        "Description": image.description or None,
        "ImageLocation": f"{CLOUD_ALIAS if is_clouds else image.account_id}/{image.name}",
        "ImageOwnerAlias": CLOUD_ALIAS if is_clouds else None,
        "OwnerId": image.account_id,
        "State": image.state,
        "StateReason": _reason_view(found),
        "CreationDate": iso(image.created),
        "DeprecationTime": None if image.deprecate_at is None else iso(image.deprecate_at),
        "DeregistrationProtection": image.deregistration_protection,
        "Public": image.public,
        "Architecture": image.architecture,
        "BootMode": image.boot_mode,
        "ImdsSupport": image.imds_support or None,
        "TpmSupport": image.tpm_support or None,
        "ImageType": "machine",
        "ImageAllowed": True,
        "FreeTierEligible": False,
        "PlatformDetails": PLATFORM,
        "UsageOperation": "RunInstances",
        "BlockDeviceMappings": [block_device_view(device) for device in found.devices],
        "RootDeviceName": image.root_device_name,
        "RootDeviceType": "ebs",
        "EnaSupport": image.ena_support,
        "SriovNetSupport": image.sriov_net_support or None,
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
        "SourceImageId": image.source_image_id,
        "SourceImageRegion": found.source_region,
        "SourceInstanceId": image.source_instance_id,
        "Tags": tags_view(found.tags) or None,
    }


def attribute_view(image: ImageAttributes, attribute: str) -> Result:
    """Show one attribute of an image by EC2's name of it, which is not `launchPermission`.

    For an attribute that the image does not have, EC2 answers only the id.
    """
    shown: Result = {"ImageId": image.id}
    match attribute:
        case "description":
            shown["Description"] = {"Value": image.description}
        case "bootMode":
            shown["BootMode"] = {"Value": image.boot_mode}
        case "imdsSupport" if image.imds_support:
            shown["ImdsSupport"] = {"Value": image.imds_support}
        case "tpmSupport" if image.tpm_support:
            shown["TpmSupport"] = {"Value": image.tpm_support}
        case "uefiData" if image.uefi_data:
            shown["UefiData"] = {"Value": uefi_data.shown(image.uefi_data)}
        case "sriovNetSupport" if image.sriov_net_support:
            shown["SriovNetSupport"] = {"Value": image.sriov_net_support}
        case "productCodes":
            shown["ProductCodes"] = []
        case "deregistrationProtection":
            shown["DeregistrationProtection"] = {"Value": image.deregistration_protection}
    return shown


def permissions_view(image_id: str, permissions: Permissions) -> Result:
    """Show who may launch an image."""
    everybody = [{"Group": "all"}] if permissions.all else []
    return {
        "ImageId": image_id,
        "LaunchPermissions": [*everybody, *({"UserId": account} for account in permissions.accounts)],
    }


def deletion_view(deletion: SnapshotDeletion) -> Result:
    """Show the result of deleting a snapshot of a deregistered image."""
    return {"SnapshotId": deletion.snapshot_id, "ReturnCode": deletion.return_code}


def _reason_view(found: DescribedImage) -> Result | None:
    image = found.image
    if not image.state_reason:
        return None
    return {"Code": _REASONS.get(image.state, "Client.Pending"), "Message": image.state_reason}
