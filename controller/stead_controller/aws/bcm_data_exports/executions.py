"""ListExecutions and GetExecution."""

from typing import Any

from stead_controller.aws.bcm_data_exports import export_view
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.data_exports import executions, exports


@operation("ListExecutions", service="bcm-data-exports", writes=False)
def list_executions(call: Call, params: Params) -> Result:
    """List the executions of an export, the newest first."""
    row = exports.find(call.tx, call.caller, call.cloud, params["ExportArn"])
    asked = export_view.page(call, params, f"ListExecutions {row.id}")
    rows = executions.page(call.tx, row, after=asked.after, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, executions.key_of)
    found = [{"ExecutionId": one.id, "ExecutionStatus": _status(one)} for one in shown]
    return {"Executions": found, "NextToken": token}


@operation("GetExecution", service="bcm-data-exports", writes=False)
def get_execution(call: Call, params: Params) -> Result:
    """Show an execution, with what the export was when it began."""
    row = exports.find(call.tx, call.caller, call.cloud, params["ExportArn"])
    found = executions.find(call.tx, row, params["ExecutionId"])
    return {
        "ExecutionId": found.id,
        "Export": export_view.export(call, row, found.definition),
        "ExecutionStatus": _status(found),
    }


def _status(row: Any) -> export_view.Shown:
    return {
        "StatusCode": row.status,
        "StatusReason": row.reason,
        "CreatedAt": row.created,
        "CompletedAt": row.completed,
        "LastUpdatedAt": row.updated,
    }
