"""SendSSHPublicKey and SendSerialConsoleSSHPublicKey."""

from functools import partial
from typing import Final

from stead_controller.aws.call import Call, Later, Params, Result, Then, operation
from stead_controller.errors import InUse, WrongState
from stead_controller.request.questions import ConsoleUse, HostAnswer
from stead_controller.resources.instances import pushed_keys, serial_console

_operation: Final = partial(operation, service="ec2-instance-connect")


@_operation("SendSerialConsoleSSHPublicKey")
def send_serial_console_ssh_public_key(call: Call, params: Params) -> Then:
    """Let a key open an instance's serial console for a minute; refused while somebody has a session there."""
    asked = params["InstanceId"], params["SSHPublicKey"]
    console, _ = serial_console.check_key(call.tx, call.caller, *asked)

    def change(after: Call, answer: HostAnswer) -> Result:
        if answer.content:
            raise InUse(
                "The instance currently has 1 active serial console session. Only 1 session is supported at a time.",
                code="SerialConsoleSessionLimitExceededException",
            )
        serial_console.push_key(after.tx, *serial_console.check_key(after.tx, after.caller, *asked), after.now)
        return {"RequestId": after.request_id, "Success": True}

    return Then(ConsoleUse(console.instance_id), change)


@_operation("SendSSHPublicKey", writes=False)
def send_ssh_public_key(call: Call, params: Params) -> Later:
    """Show a key in an instance's metadata for a minute; answered when it is there."""
    instance_id = params["InstanceId"]
    wanted = pushed_keys.Wanted(
        instance_id, params["InstanceOSUser"], params["SSHPublicKey"], params.get("AvailabilityZone")
    )
    question = pushed_keys.push(call.tx, call.caller, wanted, call.request_id)

    def finish(answer: HostAnswer) -> Result:
        if answer.error:
            raise WrongState("instance", f"The instance '{instance_id}' cannot be shown a key now.", code="Unavailable")
        return {"RequestId": call.request_id, "Success": True}

    return Later(question, finish)
