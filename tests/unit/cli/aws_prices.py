"""Small price list files in AWS's form, for tests."""

import json
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Product:
    """A product with one price; by default an hour of a t3.micro in eu-central-1."""

    sku: str
    price: str = "0.0120000000"
    unit: str = "Hrs"
    currency: str = "USD"
    begin: str = "0"
    end: str = "Inf"
    usagetype: str = "EUC1-BoxUsage:t3.micro"
    operation: str = "RunInstances"
    region: str = "eu-central-1"
    place: str = "AWS Region"
    instance_type: str = "t3.micro"
    system: str = "Linux"
    software: str = "NA"
    capacity: str = "Used"
    market: str = "OnDemand"

    def but(self, **changes: str) -> "Product":
        """Return one that differs."""
        return replace(self, **changes)

    @property
    def attributes(self) -> dict[str, str]:
        """By the names of the JSON form."""
        return {
            "servicecode": "AmazonEC2",
            "locationType": self.place,
            "instanceType": self.instance_type,
            "operatingSystem": self.system,
            "preInstalledSw": self.software,
            "capacitystatus": self.capacity,
            "marketoption": self.market,
            "usagetype": self.usagetype,
            "operation": self.operation,
            "regionCode": self.region,
        }


_COLUMNS = {
    "Location Type": "locationType",
    "Instance Type": "instanceType",
    "Operating System": "operatingSystem",
    "Pre Installed S/W": "preInstalledSw",
    "CapacityStatus": "capacitystatus",
    "MarketOption": "marketoption",
    "usageType": "usagetype",
    "operation": "operation",
    "Region Code": "regionCode",
}


def as_json(*products: Product, service: str = "AmazonEC2") -> str:
    """Write the JSON form, with reserved terms that do not count."""
    return json.dumps(
        {
            "formatVersion": "v1.0",
            "disclaimer": "This pricing list is for informational purposes only.",
            "offerCode": service,
            "version": "20261101000000",
            "publicationDate": "2026-11-01T00:00:00Z",
            "products": {
                one.sku: {"sku": one.sku, "productFamily": "Compute Instance", "attributes": one.attributes}
                for one in products
            },
            "terms": {
                "OnDemand": {one.sku: _terms(one, one.price) for one in products},
                "Reserved": {one.sku: _terms(one, "999") for one in products},
            },
            "attributesList": {},
        },
        indent=2,
    )


def _terms(one: Product, price: str) -> dict[str, Any]:
    rate = {
        "rateCode": f"{one.sku}.JRTCKXETXF.6YS6EN2CT7",
        "unit": one.unit,
        "beginRange": one.begin,
        "endRange": one.end,
        "pricePerUnit": {one.currency: price},
    }
    return {f"{one.sku}.JRTCKXETXF": {"sku": one.sku, "priceDimensions": {rate["rateCode"]: rate}}}


def as_csv(*products: Product, service: str = "AmazonEC2") -> str:
    """Write the CSV form, with reserved terms that do not count."""
    header = ["SKU", "TermType", "StartingRange", "EndingRange", "Unit", "PricePerUnit", "Currency", *_COLUMNS]
    rows = [
        ["FormatVersion", "v1.0"],
        ["Disclaimer", 'This "pricing" list, for informational purposes only.'],
        ["Publication Date", "2026-11-01T00:00:00Z"],
        ["Version", "20261101000000"],
        ["OfferCode", service],
        header,
    ]
    for one in products:
        about = [one.attributes[name] for name in _COLUMNS.values()]
        for term, price in (("OnDemand", one.price), ("Reserved", "999")):
            rows.append([one.sku, term, one.begin, one.end, one.unit, price, one.currency, *about])
    return "".join(",".join('"' + text.replace('"', '""') + '"' for text in row) + "\n" for row in rows)
