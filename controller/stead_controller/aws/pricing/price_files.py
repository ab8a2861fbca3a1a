"""The price list of a service as the file that AWS publishes, JSON or CSV; pure.

Their form: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from stead_controller.aws.pricing import products
from stead_controller.aws.pricing.price_list import PriceList
from stead_controller.aws.pricing.products import Product
from stead_controller.metering import skus

FORMATS: Final = {"csv": "text/csv", "json": "application/json"}
"""The formats of files, with their media types."""
_VERSION: Final = "v1.0"
_DISCLAIMER: Final = "These are the prices of the operator of this cloud, not those of AWS."
_COLUMNS: Final = (
    "SKU", "OfferTermCode", "RateCode", "TermType", "PriceDescription", "EffectiveDate", "StartingRange", "EndingRange",
    "Unit", "PricePerUnit", "Currency", "Product Family",
)  # fmt: skip
# What AWS's columns call attributes; the others are their words apart: `instanceType` is Instance Type.
_HEADINGS: Final = {
    "servicecode": "serviceCode",
    "servicename": "serviceName",
    "usagetype": "usageType",
    "operation": "operation",
    "preInstalledSw": "Pre Installed S/W",
    "vcpu": "vCPU",
    "gpu": "GPU",
    "marketoption": "MarketOption",
    "capacitystatus": "CapacityStatus",
    "availabilityzone": "AvailabilityZone",
    "maxIopsvolume": "Max IOPS/volume",
    "maxThroughputvolume": "Max throughput/volume",
    "volumeApiName": "Volume API Name",
}
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@lru_cache(maxsize=2)
def write(listed: PriceList, service: str, file_format: str, region: str = "") -> bytes:
    """Return the file of a service's products, of one region or of all; raises NotFound for one that sells nothing."""
    found = listed.of_service(service, region)
    return (_as_json if file_format == "json" else _as_csv)(listed, service, found).encode()


def _as_json(listed: PriceList, service: str, found: list[Product]) -> str:
    content = {
        "formatVersion": _VERSION,
        "disclaimer": _DISCLAIMER,
        "offerCode": service,
        "version": listed.file_version,
        "publicationDate": listed.published,
        "products": {one.sku: _product(one) for one in found},
        "terms": {products.ON_DEMAND: {one.sku: {f"{one.sku}.{skus.TERM}": _term(listed, one)} for one in found}},
        "attributesList": {},
    }
    return json.dumps(content, indent=1)


def _product(product: Product) -> dict[str, Any]:
    family = {"productFamily": product.family} if product.family else {}
    return {"sku": product.sku, **family, "attributes": dict(product.attributes)}


def _term(listed: PriceList, product: Product) -> dict[str, Any]:
    return {"offerTermCode": skus.TERM, **listed.term(product)}


def _as_csv(listed: PriceList, service: str, found: list[Product]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    names = list(dict.fromkeys(name for one in found for name in one.attributes))
    writer.writerows(
        [
            ("FormatVersion", _VERSION),
            ("Disclaimer", _DISCLAIMER),
            ("Publication Date", listed.published),
            ("Version", listed.file_version),
            ("OfferCode", service),
            (*_COLUMNS, *(_heading(name) for name in names)),
        ]
    )
    for one in found:
        attributes = [one.attributes.get(name, "") for name in names]
        writer.writerows((*rate, one.family, *attributes) for rate in _rates(listed, one))
    return text.getvalue()


def _rates(listed: PriceList, product: Product) -> Iterator[tuple[str, ...]]:
    """Yield the columns of each tier, until the currency."""
    term = listed.term(product)
    for code, tier in term["priceDimensions"].items():
        [(currency, price)] = tier["pricePerUnit"].items()
        about = (tier["description"], term["effectiveDate"], tier["beginRange"], tier["endRange"], tier["unit"])
        yield product.sku, skus.TERM, code, products.ON_DEMAND, *about, price, currency


def _heading(name: str) -> str:
    return _HEADINGS.get(name) or _WORDS.sub(" ", name[0].upper() + name[1:])
