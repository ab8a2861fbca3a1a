"""The price list: the products of the price book that is valid now, and each one's JSON text, which is AWS's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final

from stead_controller.aws.call import Call
from stead_controller.aws.pricing import products
from stead_controller.aws.pricing.products import Place, Product
from stead_controller.aws.protocol.models import region_description
from stead_controller.catalog import instance_types as catalogue
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.metering import bills, price_book, price_books, skus
from stead_controller.metering.price_books import StoredBook
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction

FORMAT: Final = "aws_v1"
# Regions that the price list calls Europe; the others of Europe are EU in it, unlike in botocore's list of regions.
_EUROPE: Final = frozenset({"eu-central-2", "eu-south-2"})


@dataclass(frozen=True, slots=True, eq=False)
class PriceList:
    """The products of all services, in one currency, at prices that are valid since a moment (seconds since 1970).

    `fields` are the names in lower case that filters may have, `regions` this cloud's and others that have prices.
    """

    valid_from: int
    currency: str
    products: tuple[Product, ...]
    fields: frozenset[str]
    regions: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """What changes when prices do."""
        return str(self.valid_from)

    @property
    def file_version(self) -> str:
        """The version as files and ARNs have it."""
        return version_of(self.valid_from)

    @property
    def published(self) -> str:
        """Since when it is valid, as AWS writes times."""
        return f"{datetime.fromtimestamp(self.valid_from, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def of_service(self, code: str, region: str = "") -> list[Product]:
        """Return the products of a service, of one region or of all; raises NotFound for one that sells nothing."""
        require_service(code)
        of_code = [product for product in self.products if product.service == code]
        return [product for product in of_code if region in ("", product.attributes["regionCode"])]

    def text_of(self, product: Product) -> str:
        """Return a product with its price as AWS's JSON text."""
        family = {"productFamily": product.family} if product.family else {}
        found = {
            "product": {**family, "attributes": product.attributes, "sku": product.sku},
            "serviceCode": product.service,
            "terms": {products.ON_DEMAND: {f"{product.sku}.{skus.TERM}": self.term(product)}},
            "version": self.file_version,
            "publicationDate": self.published,
        }
        return json.dumps(found, separators=(",", ":"))

    def term(self, product: Product) -> dict[str, Any]:
        """Return the only term of a product, with its price."""
        dimensions = (self._dimension(product, number) for number in range(len(product.price)))
        return {
            "priceDimensions": {dimension["rateCode"]: dimension for dimension in dimensions},
            "sku": product.sku,
            "effectiveDate": self.published,
            "offerTermCode": skus.TERM,
            "termAttributes": {},
        }

    def _dimension(self, product: Product, number: int) -> dict[str, Any]:
        """Return a tier of the price; an end is Inf where there is none."""
        tier = product.price[number]
        begin, end = f"{tier.begin:f}", "Inf" if tier.end is None else f"{tier.end:f}"
        sign = "$" if self.currency == "USD" else f"{self.currency} "
        which = "" if len(product.price) == 1 else f", from {begin} to {end} of a month"
        return {
            "unit": product.unit,
            "beginRange": begin,
            "endRange": end,
            "description": f"{sign}{tier.price:f} per {product.words}{which}",
            "appliesTo": [],
            "rateCode": skus.price_id_of(product.sku, number),
            "pricePerUnit": {self.currency: _ten_places(tier.price)},
        }


def current(call: Call) -> PriceList:
    """Return the price list that is valid now."""
    return of_book(call.tx, price_books.current(call.tx, call.now), call.cloud.region)


def of_book(tx: Transaction, book: StoredBook, region: str) -> PriceList:
    """Return the price list of a price book."""
    return _made(book.valid_from, book.text, region, tuple(instance_types.own(tx)))


def version_of(valid_from: int) -> str:
    """Return the version of what is valid since a moment, in seconds since 1970."""
    return f"{datetime.fromtimestamp(valid_from, UTC):%Y%m%d%H%M%S}"


def require_service(code: str) -> str:
    """Return the code of a service that sells something here; raises NotFound."""
    if code not in bills.SERVICES:
        there_are = ", ".join(bills.SERVICES)
        raise NotFound(
            "service", code, message=f"There is no service {code} in this price list; there are {there_are}."
        )
    return code


def require_format(given: str | None) -> str:
    """Return the format in which products are answered; raises InvalidParameter for another one."""
    if given not in {None, FORMAT}:
        raise InvalidParameter(f"Input Parameters are invalid. FormatVersion {given} is not {FORMAT}.")
    return FORMAT


def attribute_names(found: Sequence[Product]) -> list[str]:
    """Return the names of the attributes that any of some products has, with those of its family and its terms."""
    names = {name for product in found for name in product.attributes}
    names |= {products.TERM_TYPE} if found else set()
    names |= {products.FAMILY} if any(product.family for product in found) else set()
    return sorted(names)


@lru_cache(maxsize=4)
def _made(valid_from: int, text: str, region: str, own: tuple[InstanceType, ...]) -> PriceList:
    """Make the price list of a book, once for all calls until the book or the types change."""
    book = price_book.parse(text)
    types = (*catalogue.ALL.values(), *own)
    place = Place(region, _location(region))
    others = sorted(book.regions - {region})
    found = [*products.everything(book.of(region), types, place)]
    for other in others:
        found += products.everything(book.only_of(other), types, Place(other, _location(other)))
    found.sort(key=lambda product: product.sku)
    return PriceList(valid_from, book.currency, tuple(found), products.field_names(types, place), (region, *others))


@cache
def _location(region: str) -> str:
    """Return the name that AWS's price list has for a region of this code; others are called by their code."""
    name = region_description(region) or region
    return name if region in _EUROPE else name.replace("Europe (", "EU (")


def _ten_places(price: Decimal) -> str:
    """Write a price with ten places as AWS does, or with all that it has."""
    exponent = price.as_tuple().exponent
    places = max(10, -exponent if isinstance(exponent, int) else 0)
    return f"{price:.{places}f}"
