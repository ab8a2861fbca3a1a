"""Create, Delete and Describe of route tables, and their associations."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.route_table_view import route_table_view
from stead_controller.errors import MissingParameter, Unsupported
from stead_controller.request import client_tokens
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import route_table_associations, route_tables


@operation("CreateRouteTable")
def create(call: Call, params: Params) -> Result:
    """Create a route table of a VPC."""
    vpc_id, tags = params["VpcId"], tags_on_create(params, "route-table")["route-table"]
    made = client_tokens.once(
        call.tx,
        call.caller,
        repeatable("CreateRouteTable", params),
        call.now,
        lambda: route_tables.create(call.tx, call.caller, vpc_id, tags, call.now).id,
    )
    [found] = route_tables.describe(call.tx, call.caller, Selection((made,)))
    return {"RouteTable": route_table_view(found), "ClientToken": params.get("ClientToken")}


@operation("DeleteRouteTable")
def delete(call: Call, params: Params) -> Result:
    """Delete a route table without associations."""
    route_tables.remove(call.tx, call.caller, params["RouteTableId"])
    return {}


@operation("DescribeRouteTables", writes=False)
def describe(call: Call, params: Params) -> Result:
    """List route tables with their routes and associations."""
    known = route_tables.FILTERS
    asked, page = selection.paged(call, params, "DescribeRouteTables", known, ids="RouteTableIds", most=100)
    found = route_tables.describe(call.tx, call.caller, asked)
    return selection.answered("RouteTables", found, page, lambda one: (one.table.id,), route_table_view)


@operation("AssociateRouteTable")
def associate(call: Call, params: Params) -> Result:
    """Associate a route table with a subnet."""
    for name in ("GatewayId", "PublicIpv4Pool"):
        if name in params:
            raise Unsupported(f"Route tables can be associated with subnets only in this cloud ({name}).")
    if "SubnetId" not in params:
        raise MissingParameter("subnetId")
    table_id = params["RouteTableId"]
    made = route_table_associations.associate(call.tx, call.caller, table_id, params["SubnetId"])
    return {"AssociationId": made, "AssociationState": {"State": "associated"}}


@operation("DisassociateRouteTable")
def disassociate(call: Call, params: Params) -> Result:
    """Disassociate a subnet, which then uses the main route table."""
    route_table_associations.disassociate(call.tx, call.caller, params["AssociationId"])
    return {}


@operation("ReplaceRouteTableAssociation")
def replace_association(call: Call, params: Params) -> Result:
    """Replace the route table of a subnet, or the main route table of a VPC."""
    made = route_table_associations.replace(call.tx, call.caller, params["AssociationId"], params["RouteTableId"])
    return {"NewAssociationId": made, "AssociationState": {"State": "associated"}}
