"""What a period's use costs, line by line; pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from stead_controller.metering.price_book import InstancePrices, PriceBook
from stead_controller.metering.usage_sums import UsageSum
from stead_controller.metering.uses import unit_of, units_of

_GIB: Final = 1 << 30
_OF_NETWORK: Final = ("NatGateway-", "PublicIPv4:")
_NETWORK: Final = "Amazon Virtual Private Cloud"
_COMPUTE: Final = "Amazon Elastic Compute Cloud"


@dataclass(frozen=True, slots=True)
class Size:
    """The vCPUs and the bytes of memory of an instance type."""

    vcpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line: `quantity` in `unit`, the price of one, and what it costs; no price is None and costs nothing."""

    account_id: str
    service: str
    usage: str
    operation: str
    resource_id: str
    quantity: Decimal
    unit: str
    price: Decimal | None
    cost: Decimal


def lines(
    sums: Iterable[UsageSum], book: PriceBook, size_of: Callable[[str], Size | None], seconds_of_month: int
) -> list[BillLine]:
    """Price what was used; `size_of` tells the size of an instance type, where it is known."""
    return [_line(used, book, size_of, seconds_of_month) for used in sums]


def _line(used: UsageSum, book: PriceBook, size_of: Callable[[str], Size | None], seconds_of_month: int) -> BillLine:
    price = book.find(used.usage)
    if price is None:
        price = _by_size(used.usage, book.instances, size_of)
    quantity = units_of(used.usage, used.amount, seconds_of_month)
    return BillLine(
        used.account_id,
        _NETWORK if used.usage.startswith(_OF_NETWORK) else _COMPUTE,
        used.usage,
        used.operation,
        used.resource_id,
        quantity,
        unit_of(used.usage),
        price,
        quantity * (price or 0),
    )


def _by_size(usage: str, prices: InstancePrices | None, size_of: Callable[[str], Size | None]) -> Decimal | None:
    """Price an hour of an instance type that has no price of its own, by its size."""
    if prices is None:
        return None
    kind, _, name = usage.partition(":")
    part = {"BoxUsage": Decimal(1), "SpotUsage": prices.spot, "DedicatedUsage": prices.dedicated}.get(kind)
    size = size_of(name) if part is not None else None
    if part is None or size is None:
        return None
    return part * (size.vcpus * prices.vcpu + Decimal(size.memory) / _GIB * prices.memory)
