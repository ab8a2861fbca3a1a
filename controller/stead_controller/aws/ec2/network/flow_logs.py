"""CreateFlowLogs, DeleteFlowLogs and DescribeFlowLogs."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.flow_log_view import flow_log_view, made_view
from stead_controller.errors import Unsupported
from stead_controller.resources.network import flow_logs
from stead_controller.resources.network.flow_logs import Asked

_UNBUILT = ("DeliverCrossAccountRole", "DestinationOptions", "TagFieldSpecifications")


@operation("CreateFlowLogs")
def create_flow_logs(call: Call, params: Params) -> Result:
    """Create flow logs of resources."""
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported: flow logs are files on the hosts.")
    asked = Asked(
        resource_ids=tuple(params["ResourceIds"]),
        resource_type=params["ResourceType"],
        traffic_type=params.get("TrafficType"),
        log_group_name=params.get("LogGroupName"),
        destination_type=params.get("LogDestinationType", "cloud-watch-logs"),
        destination=params.get("LogDestination"),
        log_format=params.get("LogFormat"),
        aggregation_seconds=params.get("MaxAggregationInterval", 600),
        permission_arn=params.get("DeliverLogsPermissionArn"),
        tags=tags_on_create(params, "vpc-flow-log")["vpc-flow-log"],
    )
    made = flow_logs.create(call.tx, call.caller, asked, repeatable=repeatable("CreateFlowLogs", params), now=call.now)
    return {"ClientToken": params.get("ClientToken"), **made_view(made)}


@operation("DeleteFlowLogs")
def delete_flow_logs(call: Call, params: Params) -> Result:
    """Delete flow logs."""
    flow_logs.remove(call.tx, call.caller, params["FlowLogIds"])
    return {"Unsuccessful": []}


@operation("DescribeFlowLogs", writes=False)
def describe_flow_logs(call: Call, params: Params) -> Result:
    """List flow logs."""
    asked, page = selection.paged(call, params, "DescribeFlowLogs", flow_logs.FILTERS, ids="FlowLogIds")
    found = flow_logs.describe(call.tx, call.caller, asked)
    return selection.answered("FlowLogs", found, page, lambda one: (one.flow_log.id,), flow_log_view)
