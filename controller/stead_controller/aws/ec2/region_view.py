"""The region, its zones and the attributes of an account, as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.resources.regions import OPT_IN, AccountAttribute, DescribedRegion, DescribedZone


def region_view(found: DescribedRegion) -> Result:
    """Show a region."""
    return {"RegionName": found.name, "Endpoint": found.endpoint, "OptInStatus": OPT_IN}


def zone_view(found: DescribedZone) -> Result:
    """Show an availability zone."""
    return {
        "ZoneName": found.name,
        "ZoneId": found.id,
        "RegionName": found.region,
        "GroupName": found.group,
        "NetworkBorderGroup": found.region,
        "ZoneType": "availability-zone",
        "State": "available",
        "OptInStatus": OPT_IN,
        "Messages": [],
    }


def account_attribute_view(found: AccountAttribute) -> Result:
    """Show an attribute of an account."""
    return {"AttributeName": found.name, "AttributeValues": [{"AttributeValue": found.value}]}
