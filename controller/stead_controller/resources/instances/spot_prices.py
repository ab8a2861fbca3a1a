"""What Spot Instances cost, and since when: by the price books, the same in all zones and for all systems."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from stead_controller.errors import InvalidCombination, InvalidParameter, PriceTooLow
from stead_controller.metering import bills, price_book, price_books, priced_uses
from stead_controller.metering.bills import Size
from stead_controller.metering.price_book import PriceBook
from stead_controller.metering.price_books import StoredBook
from stead_controller.request.cloud import Cloud
from stead_controller.request.filters import Filter
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources.instances import offered_types

PRODUCT: Final = "Linux/UNIX"
_PRODUCTS: Final = (PRODUCT, f"{PRODUCT} (Amazon VPC)")  # EC2's names of the same
FILTERS: Final = frozenset(
    {"availability-zone", "availability-zone-id", "instance-type", "product-description", "spot-price", "timestamp"}
)
"""EC2's filters of Spot prices."""
_DAYS: Final = 90


class SpotPrice(NamedTuple):
    """The price of an hour of a type in a zone since a moment; `price` as EC2 writes it."""

    instance_type: str
    zone: str
    zone_id: str
    since: datetime
    price: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it stands in the list: by type and zone, the newest first."""
        return self.instance_type, self.zone, f"{(1 << 40) - int(self.since.timestamp()):013d}"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which prices are asked for; no types or products means all, and an empty zone any."""

    begin: datetime | None = None
    end: datetime | None = None
    types: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    zone: str = ""
    zone_id: str = ""
    filters: tuple[Filter, ...] = ()


def history(
    tx: Transaction,
    cloud: Cloud,
    asked: Asked,
    now: datetime,
    *,
    after: tuple[str, ...] | None = None,
    limit: int | None = None,
) -> list[SpotPrice]:
    """List the prices that were valid in a time of the last 90 days, each once, sorted by their places.

    Raises InvalidParameter for a time that ends before it begins, InvalidCombination for two names of a zone.
    """
    if asked.zone and asked.zone_id:
        raise InvalidCombination("AvailabilityZone and AvailabilityZoneId cannot both be specified.")
    end = min(asked.end or now, now)
    earliest = now - timedelta(days=_DAYS)
    begin = max(asked.begin or earliest, earliest)
    if asked.begin and asked.end and asked.begin > asked.end:
        raise InvalidParameter("The start time must not be after the end time.")
    if asked.products and not set(asked.products) & set(_PRODUCTS):
        return []
    ids = zone_ids(cloud)
    changes = _Changes(tx, cloud.region, begin, end)
    found = (
        SpotPrice(offering.instance_type, offering.location, ids[offering.location], since, _written(price))
        for offering in offered_types.offerings(tx, cloud, "availability-zone", ())
        if (not asked.types or offering.instance_type in asked.types)
        and asked.zone in {"", offering.location}
        and asked.zone_id in {"", ids[offering.location]}
        for since, price in changes.of_type(offering.instance_type)
    )
    chosen = (one for one in found if (after is None or one.place > after) and _fits(one, asked.filters))
    return sorted(chosen, key=lambda one: one.place)[:limit]


def check_maximum(tx: Transaction, cloud: Cloud, instance_type: str, maximum: Decimal, now: datetime) -> None:
    """Raise PriceTooLow when an hour of a type costs more now; what has no price never does."""
    book = price_book.parse(price_books.current(tx, now).text).of(cloud.region)
    price = _price(instance_type, book, priced_uses.sizes(tx))
    if price is not None and price > maximum:
        raise PriceTooLow(
            f"Your Spot request price of {maximum:f} is lower than the minimum required Spot request fulfillment "
            f"price of {_written(price)}."
        )


def _price(instance_type: str, book: PriceBook, size_of: Callable[[str], Size | None]) -> Decimal | None:
    tiers = bills.price_of(f"SpotUsage:{instance_type}", book, size_of)
    return None if tiers is None else tiers[0].price  # a book has no tiers for these


class _Changes:
    """When prices changed within a time."""

    def __init__(self, tx: Transaction, region: str, begin: datetime, end: datetime) -> None:
        """Read the price books that were valid in the time."""
        books = [book for book in price_books.all_of(tx) if book.valid_from <= int(end.timestamp())]
        first = max(place for place, book in enumerate(books) if book.valid_from <= int(begin.timestamp()))
        self._books = [(_moment(book), price_book.parse(book.text).of(region)) for book in books[first:]]
        self._size_of = priced_uses.sizes(tx)

    def of_type(self, name: str) -> Iterator[tuple[datetime, Decimal]]:
        """Yield each price of a type, and since when it was valid."""
        last = None
        for since, book in self._books:
            price = _price(name, book, self._size_of)
            if price is not None and price != last:
                yield since, price
            last = price


def _moment(book: StoredBook) -> datetime:
    return datetime.fromtimestamp(book.valid_from, UTC)


def _written(price: Decimal) -> str:
    """Write a price with six places as EC2 does, or with all that it has."""
    return f"{price:f}" if price != round(price, 6) else f"{price:.6f}"


def _fits(one: SpotPrice, filters: Iterable[Filter]) -> bool:
    values = {
        "availability-zone": (one.zone,),
        "availability-zone-id": (one.zone_id,),
        "instance-type": (one.instance_type,),
        "product-description": _PRODUCTS,
        "spot-price": (one.price,),
        "timestamp": (f"{one.since:%Y-%m-%dT%H:%M:%SZ}", f"{one.since:%Y-%m-%dT%H:%M:%S.000Z}"),
    }
    return all(each.matches_any(values[each.name]) for each in filters)
