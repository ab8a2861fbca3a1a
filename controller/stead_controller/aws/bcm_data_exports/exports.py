"""CreateExport, UpdateExport, DeleteExport, GetExport and ListExports."""

from stead_controller.aws.bcm_data_exports import export_view
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.data_exports import executions, exports


@operation("CreateExport", service="bcm-data-exports")
def create_export(call: Call, params: Params) -> Result:
    """Make an export, which is carried out at once."""
    given, tags = params["Export"], export_view.read_tags(params.get("ResourceTags"))
    export_view.check_arn(given, None)
    row = exports.create(call.tx, call.caller, call.cloud, export_view.read(given), tags, call.now)
    return {"ExportArn": exports.arn_of(call.cloud, row)}


@operation("UpdateExport", service="bcm-data-exports")
def update_export(call: Call, params: Params) -> Result:
    """Give an export another definition, by which it is carried out at once."""
    given, arn = params["Export"], params["ExportArn"]
    export_view.check_arn(given, arn)
    row = exports.find(call.tx, call.caller, call.cloud, arn)
    executions.abandon(call.tx, row, call.now)
    exports.change(call.tx, call.cloud, row, export_view.read(given), call.now)
    return {"ExportArn": arn}


@operation("DeleteExport", service="bcm-data-exports")
def delete_export(call: Call, params: Params) -> Result:
    """Delete an export; what it has written stays."""
    exports.delete(call.tx, exports.find(call.tx, call.caller, call.cloud, params["ExportArn"]))
    return {"ExportArn": params["ExportArn"]}


@operation("GetExport", service="bcm-data-exports", writes=False)
def get_export(call: Call, params: Params) -> Result:
    """Show an export."""
    row = exports.find(call.tx, call.caller, call.cloud, params["ExportArn"])
    return {"Export": export_view.export(call, row, row.definition), "ExportStatus": export_view.status(row)}


@operation("ListExports", service="bcm-data-exports", writes=False)
def list_exports(call: Call, params: Params) -> Result:
    """List the account's exports."""
    asked = export_view.page(call, params, "ListExports")
    after = asked.after[0] if asked.after else None
    rows = exports.page(call.tx, call.caller, after=after, limit=asked.fetch or 0)
    shown, token = asked.cut(rows, lambda row: (row.name,))
    found = [
        {
            "ExportArn": exports.arn_of(call.cloud, row),
            "ExportName": row.name,
            "ExportStatus": export_view.status(row),
        }
        for row in shown
    ]
    return {"Exports": found, "NextToken": token}
