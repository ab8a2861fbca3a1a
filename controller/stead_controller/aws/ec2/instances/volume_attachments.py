"""AttachVolume and DetachVolume."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.storage.volume_view import attachment_view
from stead_controller.errors import InvalidParameter
from stead_controller.resources.instances import volume_attachments as attachments


@operation("AttachVolume")
def attach_volume(call: Call, params: Params) -> Result:
    """Attach a volume to an instance."""
    if params.get("EbsCardIndex", 0) != 0:
        raise InvalidParameter(f"Value ({params['EbsCardIndex']}) for parameter ebsCardIndex is invalid.")
    volume = attachments.attach(
        call.tx, call.caller, call.cloud, params["VolumeId"], params["InstanceId"], params["Device"], call.now
    )
    return attachment_view(volume)


@operation("DetachVolume")
def detach_volume(call: Call, params: Params) -> Result:
    """Detach a volume from its instance."""
    volume = attachments.detach(
        call.tx,
        call.caller,
        params["VolumeId"],
        params.get("InstanceId"),
        params.get("Device"),
        force=params.get("Force", False),
    )
    return attachment_view(volume)
