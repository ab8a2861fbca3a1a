"""GetProducts."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.pricing import price_list, product_filters
from stead_controller.aws.pricing.pages import Pages

_MOST: Final = 100


@operation("GetProducts", service="pricing", writes=False)
def get_products(call: Call, params: Params) -> Result:
    """List the products of a service that fit all filters, each with its price."""
    listed = price_list.current(call)
    pages = Pages.read(call, params, "GetProducts", listed.version, _MOST)
    of_service = listed.of_service(params["ServiceCode"])
    found = product_filters.choose(of_service, params.get("Filters") or (), listed.fields)
    shown, token = pages.cut(found, lambda product: product.sku)
    return {
        "FormatVersion": price_list.require_format(params.get("FormatVersion")),
        "PriceList": [listed.text_of(product) for product in shown],
        "NextToken": token,
    }
