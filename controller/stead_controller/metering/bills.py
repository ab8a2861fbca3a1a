"""What use costs, line by line, as exact fractions; pure."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from stead_controller.metering import price_tiers, skus
from stead_controller.metering.price_book import InstancePrices, PriceBook
from stead_controller.metering.price_tiers import Tiers
from stead_controller.metering.usage_sums import Used
from stead_controller.metering.uses import unit_of, units_of

_GIB: Final = 1 << 30
_NONE: Final = Decimal(0)
_EXACT: Final = Context(prec=60)  # more digits than a price and a percentage have together
SERVICES: Final = {
    skus.CLOUDWATCH: "AmazonCloudWatch",
    skus.EC2: "Amazon Elastic Compute Cloud",
    skus.S3: "Amazon Simple Storage Service",
    skus.VPC: "Amazon Virtual Private Cloud",
}
"""The names of services, by their codes."""


@dataclass(frozen=True, slots=True)
class Size:
    """The vCPUs and the bytes of memory of an instance type."""

    vcpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class Rate:
    """What a unit costs: its `price`, in which tier that is (from 0 on), and the price `contracted` with an account.

    Both are None for what has no price.
    """

    price: Decimal | None = None
    tier: int = 0
    contracted: Decimal | None = None


def rate(price: Decimal | None, tier: int = 0, percent: Decimal = _NONE) -> Rate:
    """Return the rate of a price less so many percent, exactly."""
    if price is None or not percent:
        return Rate(price, tier, price)
    return Rate(price, tier, _EXACT.multiply(price, _EXACT.divide(100 - percent, Decimal(100))))


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line: `quantity` in `unit`, the rate of one, and what it costs; what has no price costs nothing."""

    used: Used
    service: str
    quantity: Fraction
    unit: str
    rate: Rate
    cost: Fraction

    @property
    def list_cost(self) -> Fraction:
        """What it costs without a discount."""
        return self.quantity * Fraction(self.rate.price or 0)


def line(used: Used, amount: Fraction | int, found: Rate, seconds_of_month: int) -> BillLine:
    """Price an amount that was used in a month of that length, all of it at one rate."""
    usage = used.usage
    quantity = units_of(usage, amount, seconds_of_month)
    service = SERVICES[skus.service_of(usage, used.operation)]
    return BillLine(used, service, quantity, unit_of(usage), found, quantity * Fraction(found.contracted or 0))


def price_of(usage: str, book: PriceBook, size_of: Callable[[str], Size | None]) -> Tiers | None:
    """Return the price of a unit, by its name or by the size of its instance type, where `size_of` knows that."""
    found = book.find(usage)
    if found is not None:
        return found
    price = _by_size(usage, book.instances, size_of)
    return None if price is None else price_tiers.flat(price)


def _by_size(usage: str, prices: InstancePrices | None, size_of: Callable[[str], Size | None]) -> Decimal | None:
    """Price an hour of an instance type that has no price of its own, by its size."""
    if prices is None:
        return None
    kind, _, name = usage.partition(":")
    parts = {
        "BoxUsage": Decimal(1),
        "UnusedBox": Decimal(1),
        "SpotUsage": prices.spot,
        "DedicatedUsage": prices.dedicated,
    }
    part = parts.get(kind)
    size = size_of(name) if part is not None else None
    if part is None or size is None:
        return None
    return part * (size.vcpus * prices.vcpu + Decimal(size.memory) / _GIB * prices.memory)
