"""Flow logs as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.flow_logs import DESTINATION_TYPE, DescribedFlowLog, Made


def flow_log_view(found: DescribedFlowLog) -> Result:
    """Show a flow log."""
    row = found.flow_log
    return {
        "FlowLogId": row.id,
        "FlowLogStatus": "ACTIVE",
        "CreationTime": row.created,
        "DeliverLogsStatus": "SUCCESS",
        "DeliverLogsPermissionArn": row.permission_arn,
        "LogDestinationType": DESTINATION_TYPE,
        "LogDestination": row.destination,
        "LogGroupName": row.log_group_name,
        "LogFormat": row.log_format,
        "MaxAggregationInterval": row.aggregation_seconds,
        "ResourceId": row.resource_id,
        "TrafficType": row.traffic_type,
        "Tags": tags_view(found.tags),
    }


def made_view(made: Made) -> Result:
    """Show which flow logs were created, and the errors of the other resources."""
    return {
        "FlowLogIds": made.flow_log_ids,
        "Unsuccessful": [
            {"ResourceId": resource_id, "Error": {"Code": code, "Message": message}}
            for resource_id, code, message in made.refused
        ],
    }
