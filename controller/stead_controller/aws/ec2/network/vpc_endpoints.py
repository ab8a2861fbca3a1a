"""VPC endpoints: Create, Modify, Delete, Describe, and the available services."""

from functools import partial
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import filters, repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.vpc_endpoint_service_view import vpc_endpoint_service_view
from stead_controller.aws.ec2.network.vpc_endpoint_view import vpc_endpoint_view
from stead_controller.errors import InvalidParameter, MalformedId, MissingParameter, NotFound, Unsupported
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import describe_vpc_endpoints, vpc_endpoint_services, vpc_endpoints
from stead_controller.resources.network.vpc_endpoint_services import GATEWAY, INTERFACE, Service
from stead_controller.resources.network.vpc_endpoints import Change, CreateRequest

# Parameters of endpoint types that Stead lacks: VPC Lattice's.
_UNBUILT: Final = ("ResourceConfigurationArn", "ServiceNetworkArn")
_TYPES: Final = (GATEWAY, INTERFACE, "GatewayLoadBalancer", "Resource", "ServiceNetwork")
# Parameters that gateway endpoints do not have, in EC2's words.
_OF_INTERFACES: Final = {
    "SubnetIds": "Subnet IDs are only supported for Interface and GatewayLoadBalancer type VPC Endpoints.",
    "AddSubnetIds": "Subnet IDs are only supported for Interface and GatewayLoadBalancer type VPC Endpoints.",
    "RemoveSubnetIds": "Subnet IDs are only supported for Interface and GatewayLoadBalancer type VPC Endpoints.",
    "SubnetConfigurations": "Subnet configurations are only supported for Interface type VPC Endpoints.",
    "SecurityGroupIds": "Security Groups are only supported for Interface type VPC Endpoints.",
    "AddSecurityGroupIds": "Security Groups are only supported for Interface type VPC Endpoints.",
    "RemoveSecurityGroupIds": "Security Groups are only supported for Interface type VPC Endpoints.",
    "PrivateDnsEnabled": "Private DNS can only be enabled for Interface type VPC Endpoints.",
}
# Parameters that interface endpoints do not have.
_OF_GATEWAYS: Final = dict.fromkeys(
    ("RouteTableIds", "AddRouteTableIds", "RemoveRouteTableIds"),
    "Route table IDs are only supported for Gateway type VPC Endpoints.",
)
_ONLY_INBOUND: Final = "PrivateDnsOnlyForInboundResolverEndpoint"
_OF_LATTICE: Final = ("PrivateDnsPreference", "PrivateDnsSpecifiedDomains")


@operation("CreateVpcEndpoint")
def create_vpc_endpoint(call: Call, params: Params) -> Result:
    """Create an endpoint."""
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"Endpoints of VPC Lattice are not supported by this cloud ({name}).")
    if params.get("ServiceRegion", call.cloud.region) != call.cloud.region:
        raise Unsupported("Endpoints of services in other regions are not supported by this cloud (ServiceRegion).")
    kind = params.get("VpcEndpointType", GATEWAY)
    if kind not in _TYPES:
        raise InvalidParameter(f"Value ({kind}) for parameter VpcEndpointType is invalid.")
    if not params.get("ServiceName"):
        raise MissingParameter("ServiceName")
    if kind in (GATEWAY, INTERFACE):
        _check(kind, params)
    request = CreateRequest(
        params["VpcId"],
        params["ServiceName"],
        kind,
        params.get("PolicyDocument") or None,
        params.get("RouteTableIds", ()),
        _subnets(params, "SubnetIds"),
        params.get("SecurityGroupIds", ()),
        params.get("PrivateDnsEnabled", kind == INTERFACE),
        params.get("DnsOptions", {}).get(_ONLY_INBOUND),
        tags_on_create(params, "vpc-endpoint"),
    )
    made = vpc_endpoints.create(
        call.tx, call.caller, call.cloud, request, repeatable=repeatable("CreateVpcEndpoint", params), now=call.now
    )
    (found,) = describe_vpc_endpoints.describe(call.tx, call.caller, call.cloud, Selection((made,)))
    return {"VpcEndpoint": vpc_endpoint_view(call.cloud, found), "ClientToken": params.get("ClientToken")}


@operation("ModifyVpcEndpoint")
def modify_vpc_endpoint(call: Call, params: Params) -> Result:
    """Change an endpoint's policy, route tables, subnets, security groups or private DNS."""
    _check(vpc_endpoints.find(call.tx, call.caller, params["VpcEndpointId"]).endpoint_type, params)
    change = Change(
        params.get("PolicyDocument") or None,
        params.get("ResetPolicy", False),
        params.get("AddRouteTableIds", ()),
        params.get("RemoveRouteTableIds", ()),
        _subnets(params, "AddSubnetIds"),
        params.get("RemoveSubnetIds", ()),
        params.get("AddSecurityGroupIds", ()),
        params.get("RemoveSecurityGroupIds", ()),
        params.get("PrivateDnsEnabled"),
        params.get("DnsOptions", {}).get(_ONLY_INBOUND),
    )
    vpc_endpoints.modify(call.tx, call.caller, params["VpcEndpointId"], change, call.now)
    return {"Return": True}


def _check(kind: str, params: Params) -> None:
    """Refuse parameters that an endpoint type does not have; raises InvalidParameter, Unsupported."""
    for name, message in (_OF_INTERFACES if kind == GATEWAY else _OF_GATEWAYS).items():
        if params.get(name):
            raise InvalidParameter(message, code="InvalidParameter")
    if params.get("IpAddressType", "ipv4") != "ipv4":
        raise Unsupported("The services of this cloud have IPv4 addresses only (IpAddressType).")
    options: dict[str, Any] = params.get("DnsOptions", {})
    if options.get("DnsRecordIpType", "ipv4") not in ("ipv4", "service-defined"):
        raise Unsupported("The services of this cloud have IPv4 addresses only (DnsOptions.DnsRecordIpType).")
    if options.get(_ONLY_INBOUND) and kind == GATEWAY:
        raise InvalidParameter(
            f"DnsOptions {_ONLY_INBOUND} is applicable only to Interface VPC Endpoints.", code="InvalidParameter"
        )
    for name in _OF_LATTICE:
        if options.get(name):
            raise InvalidParameter(f"{name} is not supported for this service.", code="InvalidParameter")


def _subnets(params: Params, member: str) -> dict[str, str | None]:
    """Return the requested subnets, and the requested address in each, if any; raises Unsupported."""
    found: dict[str, str | None] = dict.fromkeys(params.get(member, ()))
    for one in params.get("SubnetConfigurations", ()):
        if one.get("Ipv6"):
            raise Unsupported("The services of this cloud have IPv4 addresses only (SubnetConfigurations.Ipv6).")
        if not one.get("SubnetId"):
            raise MissingParameter("SubnetConfiguration.SubnetId")
        found[one["SubnetId"]] = one.get("Ipv4") or None
    return found


@operation("DeleteVpcEndpoints")
def delete_vpc_endpoints(call: Call, params: Params) -> Result:
    """Delete each endpoint that can be deleted, and answer the errors of the others, as EC2 does."""
    unsuccessful = []
    for endpoint_id in dict.fromkeys(params["VpcEndpointIds"]):
        try:
            vpc_endpoints.remove(call.tx, call.caller, endpoint_id, call.now)
        except (MalformedId, NotFound) as error:
            code = f"InvalidVpcEndpointId.{'NotFound' if isinstance(error, NotFound) else 'Malformed'}"
            unsuccessful.append({"ResourceId": endpoint_id, "Error": {"Code": code, "Message": error.message}})
    return {"Unsuccessful": unsuccessful}


@operation("DescribeVpcEndpoints", writes=False)
def describe_vpc_endpoints_(call: Call, params: Params) -> Result:
    """List endpoints."""
    known = describe_vpc_endpoints.FILTERS
    asked, page = selection.paged(call, params, "DescribeVpcEndpoints", known, ids="VpcEndpointIds")
    found = describe_vpc_endpoints.describe(call.tx, call.caller, call.cloud, asked)
    view = partial(vpc_endpoint_view, call.cloud)
    return selection.answered("VpcEndpoints", found, page, lambda one: (one.endpoint.id,), view)


@operation("DescribeVpcEndpointServices", writes=False)
def describe_vpc_endpoint_services(call: Call, params: Params) -> Result:
    """List the available services."""
    page = describe.page(call, params, "DescribeVpcEndpointServices", ids="ServiceNames")
    asked = filters(params, vpc_endpoint_services.FILTERS)
    regions = params.get("ServiceRegions", ())
    found: list[Service] = []
    if not regions or call.cloud.region in regions:
        found = vpc_endpoint_services.describe(call.cloud, params.get("ServiceNames", ()), asked)
    after = tuple(page.after) if page.after else ()
    later = [one for one in found if (one.name(call.cloud), one.endpoint_type) > after]
    shown, token = page.cut(later, lambda one: (one.name(call.cloud), one.endpoint_type))
    return {
        "ServiceNames": list(dict.fromkeys(one.name(call.cloud) for one in shown)),
        "ServiceDetails": [vpc_endpoint_service_view(call.cloud, one) for one in shown],
        "NextToken": token,
    }
