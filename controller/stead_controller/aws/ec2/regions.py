"""DescribeRegions, DescribeAvailabilityZones and DescribeAccountAttributes."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import filters
from stead_controller.aws.ec2.region_view import account_attribute_view, region_view, zone_view
from stead_controller.resources import regions


@operation("DescribeRegions", writes=False)
def describe_regions(call: Call, params: Params) -> Result:
    """List the cloud's only region, with the endpoint that the client used."""
    asked = filters(params, regions.REGION_FILTERS, tags=False)
    found = regions.describe_regions(call.cloud, call.host, params.get("RegionNames", ()), asked)
    return {"Regions": [region_view(one) for one in found]}


@operation("DescribeAvailabilityZones", writes=False)
def describe_availability_zones(call: Call, params: Params) -> Result:
    """List the cloud's zones."""
    asked = filters(params, regions.ZONE_FILTERS, tags=False)
    names, ids = params.get("ZoneNames", ()), params.get("ZoneIds", ())
    return {"AvailabilityZones": [zone_view(one) for one in regions.describe_zones(call.cloud, names, ids, asked)]}


@operation("DescribeAccountAttributes", writes=False)
def describe_account_attributes(call: Call, params: Params) -> Result:
    """Show the account's supported platforms and limits."""
    names = params.get("AttributeNames", ())
    found = regions.account_attributes(call.tx, call.caller, names)
    return {"AccountAttributes": [account_attribute_view(one) for one in found]}
