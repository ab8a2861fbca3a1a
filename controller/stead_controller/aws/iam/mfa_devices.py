"""Virtual MFA devices; creating one returns its seed once, as text and as a QR code for an authenticator app.

QR codes follow ISO/IEC 18004, as PNG.
"""

import base64
import io
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.mfa_device_view import (
    mfa_device_by_itself_view,
    mfa_device_view,
    virtual_mfa_device_view,
)
from stead_controller.aws.iam.tags_view import given_tags, tags_view
from stead_controller.resources.iam import account_settings, mfa_devices
from stead_controller.resources.iam.mfa_devices import Codes, NewDevice

_PIXELS: Final = 4  # per module of the QR code, sharp enough for phones
_MASK: Final = 0  # the same for all: trying which of the eight masks is best takes most of the time


def _draftsman(params: Params) -> Callable[[str], bytes]:
    """Return the function that draws QR codes; as it is rarely used, it is loaded then, before the transaction."""
    del params
    import segno  # noqa: PLC0415 - takes a tenth of the time of all that the controller loads

    def draw(text: str) -> bytes:
        image = io.BytesIO()
        segno.make_qr(text, error="l", mask=_MASK, boost_error=False).save(image, kind="png", scale=_PIXELS)
        return image.getvalue()

    return draw


@operation("CreateVirtualMFADevice", service="iam", prepare=_draftsman)
def create_virtual_mfa_device(call: Call, params: Params) -> Result:
    """Create a device."""
    request = NewDevice(params["VirtualMFADeviceName"], params.get("Path"), given_tags(params))
    made = mfa_devices.create(call.tx, call.caller, call.cloud.sealer, request, call.now)
    seed = base64.b32encode(made.seed).decode()
    account = account_settings.alias(call.tx, call.caller) or call.caller.account_id
    device = {
        "SerialNumber": made.serial_number,
        "Base32StringSeed": seed.encode(),
        "QRCodePNG": call.prepared(f"otpauth://totp/{quote(request.name)}@{account}?secret={seed}"),
        "Tags": tags_view(made.tags) or None,
    }
    return {"VirtualMFADevice": device}


@operation("DeleteVirtualMFADevice", service="iam")
def delete_virtual_mfa_device(call: Call, params: Params) -> Result:
    """Delete a device that is not assigned to a user."""
    mfa_devices.remove(call.tx, call.caller, params["SerialNumber"])
    return {}


@operation("EnableMFADevice", service="iam")
def enable_mfa_device(call: Call, params: Params) -> Result:
    """Assign a device to a user."""
    mfa_devices.enable(call.tx, call.caller, call.cloud.sealer, params["UserName"], **_shown(params), now=call.now)
    return {}


@operation("ResyncMFADevice", service="iam")
def resync_mfa_device(call: Call, params: Params) -> Result:
    """Determine how wrong a device's clock is."""
    mfa_devices.resync(call.tx, call.caller, call.cloud.sealer, params["UserName"], **_shown(params), now=call.now)
    return {}


@operation("DeactivateMFADevice", service="iam")
def deactivate_mfa_device(call: Call, params: Params) -> Result:
    """Remove a device from its user."""
    mfa_devices.deactivate(call.tx, call.caller, params.get("UserName"), params["SerialNumber"])
    return {}


@operation("GetMFADevice", service="iam", writes=False)
def get_mfa_device(call: Call, params: Params) -> Result:
    """Show a device."""
    found = mfa_devices.get(call.tx, call.caller, params["SerialNumber"], params.get("UserName"))
    return mfa_device_by_itself_view(found)


@operation("ListMFADevices", service="iam", writes=False)
def list_mfa_devices(call: Call, params: Params) -> Result:
    """List a user's devices."""
    return pages.listed(
        call,
        params,
        "ListMFADevices",
        "MFADevices",
        read=lambda part: mfa_devices.of_user(call.tx, call.caller, params.get("UserName"), part),
        key=lambda device: (device.name_lower,),
        view=mfa_device_view,
    )


@operation("ListVirtualMFADevices", service="iam", writes=False)
def list_virtual_mfa_devices(call: Call, params: Params) -> Result:
    """List the account's devices."""
    status = params.get("AssignmentStatus", "Any")
    return pages.listed(
        call,
        params,
        "ListVirtualMFADevices",
        "VirtualMFADevices",
        read=lambda part: mfa_devices.of_account(call.tx, call.caller, status, part),
        key=lambda device: (device.name_lower,),
        view=virtual_mfa_device_view,
    )


def _shown(params: Params) -> dict[str, Any]:
    """Return a device's serial number and the two codes that it has shown."""
    codes = Codes(params["AuthenticationCode1"], params["AuthenticationCode2"])
    return {"serial_number": params["SerialNumber"], "codes": codes}
