"""SendSSHPublicKey."""

from functools import partial
from typing import Final

from stead_controller.aws.call import Call, Later, Params, Result, operation
from stead_controller.errors import WrongState
from stead_controller.request.questions import HostAnswer
from stead_controller.resources.instances import pushed_keys

_operation: Final = partial(operation, service="ec2-instance-connect", writes=False)


@_operation("SendSSHPublicKey")
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
