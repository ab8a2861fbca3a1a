"""Block public access for an account's images and snapshots."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter
from stead_controller.resources.storage import public_sharing

_BY_ACCOUNT: Final = "account"


@operation("EnableImageBlockPublicAccess")
def enable_image_block_public_access(call: Call, params: Params) -> Result:
    """Block making further images public."""
    state = _one_of(params["ImageBlockPublicAccessState"], "ImageBlockPublicAccessState", public_sharing.BLOCK_NEW)
    return {"ImageBlockPublicAccessState": public_sharing.set_of_images(call.tx, call.caller, state)}


@operation("DisableImageBlockPublicAccess")
def disable_image_block_public_access(call: Call, _params: Params) -> Result:
    """Allow images to be made public."""
    state = public_sharing.set_of_images(call.tx, call.caller, public_sharing.UNBLOCKED)
    return {"ImageBlockPublicAccessState": state}


@operation("GetImageBlockPublicAccessState", writes=False)
def get_image_block_public_access_state(call: Call, _params: Params) -> Result:
    """Tell whether images may be made public."""
    state = public_sharing.of_images(call.tx, call.caller.account_id)
    return {"ImageBlockPublicAccessState": state, "ManagedBy": _BY_ACCOUNT}


@operation("EnableSnapshotBlockPublicAccess")
def enable_snapshot_block_public_access(call: Call, params: Params) -> Result:
    """Block making further snapshots public, or block all public snapshots."""
    state = _one_of(params["State"], "State", public_sharing.BLOCK_ALL, public_sharing.BLOCK_NEW)
    return {"State": public_sharing.set_of_snapshots(call.tx, call.caller, state)}


@operation("DisableSnapshotBlockPublicAccess")
def disable_snapshot_block_public_access(call: Call, _params: Params) -> Result:
    """Allow snapshots to be made public."""
    return {"State": public_sharing.set_of_snapshots(call.tx, call.caller, public_sharing.UNBLOCKED)}


@operation("GetSnapshotBlockPublicAccessState", writes=False)
def get_snapshot_block_public_access_state(call: Call, _params: Params) -> Result:
    """Show whether sharing, new sharing or nothing of snapshots is blocked."""
    return {"State": public_sharing.of_snapshots(call.tx, call.caller.account_id), "ManagedBy": _BY_ACCOUNT}


def _one_of(state: str, name: str, *states: str) -> str:
    if state not in states:
        raise InvalidParameter(f"Value ({state}) for parameter {name} is invalid: {', '.join(states)}.")
    return state
