"""The price list's operations, on an account as a whole."""

from typing import Final

from stead_controller.aws.authorization.rule import Rule, rule

RULES: Final[dict[str, Rule]] = {
    "DescribeServices": rule(),
    "GetAttributeValues": rule(),
    "GetPriceListFileUrl": rule(),
    "GetProducts": rule(),
    "ListPriceLists": rule(),
}
