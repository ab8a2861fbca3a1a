"""ModifyInstanceEventStartTime."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.instances.instance_event_view import event_view
from stead_controller.resources.instances import instance_events


@operation("ModifyInstanceEventStartTime")
def modify_instance_event_start_time(call: Call, params: Params) -> Result:
    """Choose another time for a scheduled event of an instance."""
    event = instance_events.modify_start(
        call.tx, call.caller, params["InstanceId"], params["InstanceEventId"], params["NotBefore"], call.now
    )
    return {"Event": event_view(event)}
