"""Virtual MFA devices as IAM shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.iam.user_view import listed_user_view, root_view
from stead_controller.resources.iam.mfa_devices import AssignedMfaDevice, DescribedMfaDevice
from stead_controller.resources.iam.users import Root


def mfa_device_view(found: DescribedMfaDevice) -> Result:
    """Show a device of a user."""
    return {"UserName": found.owner_name, "SerialNumber": found.serial_number, "EnableDate": found.enabled}


def mfa_device_by_itself_view(found: DescribedMfaDevice) -> Result:
    """Show a device without its user."""
    return {**mfa_device_view(found), "Certifications": {}}


def virtual_mfa_device_view(found: AssignedMfaDevice) -> Result:
    """Show a device of an account."""
    owner = found.owner
    shown = None if owner is None else root_view(owner) if isinstance(owner, Root) else listed_user_view(owner)
    return {"SerialNumber": found.serial_number, "User": shown, "EnableDate": found.enabled}
