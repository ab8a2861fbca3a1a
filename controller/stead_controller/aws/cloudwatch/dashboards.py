"""PutDashboard, GetDashboard, ListDashboards and DeleteDashboards."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.cloudwatch.tags import tags_given
from stead_controller.resources.metrics import dashboards


@operation("PutDashboard", service="cloudwatch")
def put_dashboard(call: Call, params: Params) -> Result:
    """Make or replace a dashboard."""
    body = params["DashboardBody"]
    remarks = dashboards.put(call.tx, call.caller, params["DashboardName"], body, tags_given(params), call.now)
    return {"DashboardValidationMessages": [{"DataPath": one.path, "Message": one.message} for one in remarks]}


@operation("GetDashboard", service="cloudwatch", writes=False)
def get_dashboard(call: Call, params: Params) -> Result:
    """Show a dashboard."""
    name = params["DashboardName"]
    body = dashboards.body_of(call.tx, call.caller, name)
    arn = dashboards.arn_of(call.cloud, call.caller, name)
    return {"DashboardArn": arn, "DashboardBody": body, "DashboardName": name}


@operation("ListDashboards", service="cloudwatch", writes=False)
def list_dashboards(call: Call, params: Params) -> Result:
    """List dashboards."""
    page = describe.page(call, params, "ListDashboards", default=dashboards.PAGE)
    prefix = params.get("DashboardNamePrefix", "")
    after = page.after[0] if page.after else None
    found = dashboards.search(call.tx, call.caller, call.cloud, prefix, after=after, limit=dashboards.PAGE + 1)
    shown, token = page.cut(found, lambda one: (one.name,))
    entries = [
        {"DashboardName": one.name, "DashboardArn": one.arn, "LastModified": one.modified, "Size": one.size}
        for one in shown
    ]
    return {"DashboardEntries": entries, "NextToken": token}


@operation("DeleteDashboards", service="cloudwatch")
def delete_dashboards(call: Call, params: Params) -> Result:
    """Delete dashboards."""
    dashboards.remove(call.tx, call.caller, params["DashboardNames"])
    return {}
