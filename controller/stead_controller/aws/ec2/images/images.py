"""RegisterImage, CreateImage, CopyImage, DescribeImages, DeregisterImage, and changes of an image's state."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.images.image_view import deletion_view, image_view
from stead_controller.aws.ec2.storage import block_devices
from stead_controller.errors import InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.images import copy_image, image_life, images, register_image
from stead_controller.resources.images.copy_image import CopyOf
from stead_controller.resources.images.images import ImageSelection
from stead_controller.resources.images.register_image import NewImage
from stead_controller.resources.instances import create_image
from stead_controller.resources.instances.create_image import OfRunning

_UNBUILT = ("ImageLocation", "KernelId", "RamdiskId", "BillingProducts")


@operation("RegisterImage")
def register(call: Call, params: Params) -> Result:
    """Register an image from snapshots."""
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    if params.get("VirtualizationType", "hvm") != "hvm":
        raise Unsupported("Only images with the virtualization type hvm are supported.")
    if not params.get("BlockDeviceMappings"):
        raise MissingParameter("BlockDeviceMapping")
    asked = NewImage(
        name=params["Name"],
        devices=block_devices.parse(params["BlockDeviceMappings"]),
        description=params.get("Description", ""),
        architecture=params.get("Architecture", "x86_64"),
        root_device_name=params.get("RootDeviceName", "/dev/sda1"),
        boot_mode=params.get("BootMode", ""),
        ena_support=params.get("EnaSupport", False),
        sriov_net_support=params.get("SriovNetSupport", ""),
        imds_support=params.get("ImdsSupport", ""),
        tpm_support=params.get("TpmSupport", ""),
        uefi_data=params.get("UefiData", ""),
        tags=tags_on_create(params, "image")["image"],
    )
    return {"ImageId": register_image.register(call.tx, call.caller, asked, call.now)}


@operation("CreateImage")
def create(call: Call, params: Params) -> Result:
    """Create an image from an instance's volumes."""
    if params.get("SnapshotLocation", "regional") != "regional":
        raise Unsupported("Local snapshots are not supported.")
    asked = OfRunning(
        params["InstanceId"],
        params["Name"],
        params.get("Description", ""),
        params.get("NoReboot", False),
        block_devices.parse(params.get("BlockDeviceMappings", ())),
        tags_on_create(params, "image", "snapshot"),
        params.get("BootModeOverride", ""),
    )
    return {"ImageId": create_image.create(call.tx, call.caller, asked, call.now)}


@operation("CopyImage")
def copy(call: Call, params: Params) -> Result:
    """Copy an image."""
    region = params["SourceRegion"]
    if region != call.cloud.region:
        raise InvalidParameter(f"Value ({region}) for parameter SourceRegion is invalid: this is {call.cloud.region}.")
    for name in ("DestinationOutpostArn", "DestinationAvailabilityZone", "DestinationAvailabilityZoneId"):
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    asked = CopyOf(
        params["SourceImageId"],
        params["Name"],
        params.get("Description", ""),
        encrypted=params.get("Encrypted", False),
        kms_key_id=params.get("KmsKeyId"),
        copy_tags=params.get("CopyImageTags", False),
        tags=tags_on_create(params, "image", "snapshot"),
    )
    once = repeatable("CopyImage", params)
    return {"ImageId": copy_image.copy(call.tx, call.caller, call.cloud, asked, repeatable=once, now=call.now)}


@operation("DescribeImages", writes=False)
def describe_images(call: Call, params: Params) -> Result:
    """List the images that the caller may see."""
    asked, page = selection.paged(call, params, "DescribeImages", images.FILTERS, ids="ImageIds")
    wanted = ImageSelection(
        asked,
        tuple(params.get("Owners", ())),
        tuple(params.get("ExecutableUsers", ())),
        deprecated=params.get("IncludeDeprecated", False),
        disabled=params.get("IncludeDisabled", False),
    )
    found = images.describe(call.tx, call.caller, wanted, call.now)
    return selection.answered("Images", found, page, lambda one: (one.image.id,), image_view)


@operation("DeregisterImage", makes_room=True)
def deregister(call: Call, params: Params) -> Result:
    """Deregister an image."""
    with_snapshots = params.get("DeleteAssociatedSnapshots", False)
    deleted = image_life.deregister(call.tx, call.caller, params["ImageId"], call.now, with_snapshots=with_snapshots)
    return {"Return": True, "DeleteSnapshotResults": [deletion_view(one) for one in deleted]}


@operation("EnableImage")
def enable(call: Call, params: Params) -> Result:
    """Allow a disabled image to be launched again."""
    image_life.enable(call.tx, call.caller, params["ImageId"])
    return {"Return": True}


@operation("DisableImage")
def disable(call: Call, params: Params) -> Result:
    """Prevent an image from being launched."""
    image_life.disable(call.tx, call.caller, params["ImageId"])
    return {"Return": True}


@operation("EnableImageDeprecation")
def enable_deprecation(call: Call, params: Params) -> Result:
    """Deprecate an image from a given time on."""
    image_life.deprecate(call.tx, call.caller, params["ImageId"], params["DeprecateAt"], call.now)
    return {"Return": True}


@operation("DisableImageDeprecation")
def disable_deprecation(call: Call, params: Params) -> Result:
    """Cancel an image's deprecation."""
    image_life.undeprecate(call.tx, call.caller, params["ImageId"])
    return {"Return": True}


@operation("EnableImageDeregistrationProtection")
def enable_protection(call: Call, params: Params) -> Result:
    """Protect an image from being deregistered."""
    cooldown = params.get("WithCooldown", False)
    return {"Return": image_life.protect(call.tx, call.caller, params["ImageId"], cooldown=cooldown)}


@operation("DisableImageDeregistrationProtection")
def disable_protection(call: Call, params: Params) -> Result:
    """Allow an image to be deregistered again."""
    return {"Return": image_life.unprotect(call.tx, call.caller, params["ImageId"], call.now)}
