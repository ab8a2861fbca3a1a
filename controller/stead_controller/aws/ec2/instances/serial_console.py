"""Whether an account allows its instances' serial consoles to be used by SSH."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.instances import serial_console


@operation("GetSerialConsoleAccessStatus", writes=False)
def get_serial_console_access_status(call: Call, _params: Params) -> Result:
    """Tell whether they may be used."""
    enabled = serial_console.has_access(call.tx, call.caller.account_id)
    return {"SerialConsoleAccessEnabled": enabled, "ManagedBy": "account"}


@operation("EnableSerialConsoleAccess")
def enable_serial_console_access(call: Call, _params: Params) -> Result:
    """Allow it."""
    return {"SerialConsoleAccessEnabled": serial_console.set_access(call.tx, call.caller, enabled=True)}


@operation("DisableSerialConsoleAccess")
def disable_serial_console_access(call: Call, _params: Params) -> Result:
    """Allow it no longer; a session that is open goes on."""
    return {"SerialConsoleAccessEnabled": serial_console.set_access(call.tx, call.caller, enabled=False)}
