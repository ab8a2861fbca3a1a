"""DescribeInstanceTypes and DescribeInstanceTypeOfferings."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.instance_type_view import instance_type_view, offering_view
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.resources.host_capacity.devices import Offer
from stead_controller.resources.instances import offered_types


@operation("DescribeInstanceTypes", writes=False)
def describe_types(call: Call, params: Params) -> Result:
    """List instance types, a hundred at a time."""
    page = describe.page(call, params, "DescribeInstanceTypes", at_most=100, default=100)
    filters = describe.filters(params, offered_types.FILTERS, tags=False)
    after = page.after[0] if page.after else None
    names = params.get("InstanceTypes", ())
    not_offered = params.get("IncludeUnsupportedInRegion", False)
    found = offered_types.describe(call.tx, names, filters, not_offered=not_offered, after=after, limit=page.fetch)
    offer = Offer(call.tx)

    def view(kind: InstanceType) -> Result:
        return instance_type_view(kind, offered=not not_offered or offer.has(kind))

    return selection.answered("InstanceTypes", found, page, lambda kind: (kind.name,), view)


@operation("DescribeInstanceTypeOfferings", writes=False)
def describe_offerings(call: Call, params: Params) -> Result:
    """List where instance types are offered."""
    page = describe.page(call, params, "DescribeInstanceTypeOfferings")
    filters = describe.filters(params, offered_types.OFFERING_FILTERS, tags=False)
    location_type = params.get("LocationType", "region")
    found = offered_types.offerings(call.tx, call.cloud, location_type, filters, after=page.after, limit=page.fetch)
    return selection.answered(
        "InstanceTypeOfferings", found, page, lambda one: (one.instance_type, one.location), offering_view
    )
