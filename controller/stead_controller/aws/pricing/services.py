"""DescribeServices and GetAttributeValues."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.pricing import price_list
from stead_controller.aws.pricing.pages import Pages
from stead_controller.errors import NotFound
from stead_controller.metering import bills

_MOST_SERVICES: Final = 100
_MOST_VALUES: Final = 10000


@operation("DescribeServices", service="pricing", writes=False)
def describe_services(call: Call, params: Params) -> Result:
    """List the services that sell something here, or one of them, with the names of their products' attributes."""
    listed = price_list.current(call)
    pages = Pages.read(call, params, "DescribeServices", listed.version, _MOST_SERVICES)
    code = params.get("ServiceCode")
    chosen = list(bills.SERVICES) if code is None else [price_list.require_service(code)]
    found = [
        {"ServiceCode": one, "AttributeNames": price_list.attribute_names(listed.of_service(one))} for one in chosen
    ]
    shown, token = pages.cut(found, lambda service: str(service["ServiceCode"]))
    return {
        "Services": list(shown),
        "FormatVersion": price_list.require_format(params.get("FormatVersion")),
        "NextToken": token,
    }


@operation("GetAttributeValues", service="pricing", writes=False)
def get_attribute_values(call: Call, params: Params) -> Result:
    """List the values that products of a service have of an attribute."""
    listed = price_list.current(call)
    pages = Pages.read(call, params, "GetAttributeValues", listed.version, _MOST_VALUES)
    of_service = listed.of_service(params["ServiceCode"])
    name = params["AttributeName"].lower()
    values = sorted({product.fields[name] for product in of_service if name in product.fields})
    if not values:
        raise NotFound("attribute", params["AttributeName"])
    shown, token = pages.cut(values, str)
    return {"AttributeValues": [{"Value": value} for value in shown], "NextToken": token}
