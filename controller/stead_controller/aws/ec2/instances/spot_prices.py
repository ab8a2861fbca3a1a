"""DescribeSpotPriceHistory."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources.instances import spot_prices
from stead_controller.resources.instances.spot_prices import Asked, SpotPrice


@operation("DescribeSpotPriceHistory", writes=False)
def describe_spot_price_history(call: Call, params: Params) -> Result:
    """List what Spot Instances cost in some time, by type and zone."""
    page = describe.page(call, params, "DescribeSpotPriceHistory", at_least=1, default=1000)
    asked = Asked(
        params.get("StartTime"),
        params.get("EndTime"),
        tuple(params.get("InstanceTypes") or ()),
        tuple(params.get("ProductDescriptions") or ()),
        params.get("AvailabilityZone", ""),
        params.get("AvailabilityZoneId", ""),
        describe.filters(params, spot_prices.FILTERS, tags=False),
    )
    found = spot_prices.history(call.tx, call.cloud, asked, call.now, after=page.after, limit=page.fetch)
    return selection.answered("SpotPriceHistory", found, page, lambda one: one.place, _view)


def _view(one: SpotPrice) -> Result:
    return {
        "AvailabilityZone": one.zone,
        "AvailabilityZoneId": one.zone_id,
        "InstanceType": one.instance_type,
        "ProductDescription": spot_prices.PRODUCT,
        "SpotPrice": one.price,
        "Timestamp": one.since,
    }
