"""Price books: what a use costs, from TOML; pure."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, Final

from stead_controller.errors import InvalidParameter
from stead_controller.metering import price_tiers
from stead_controller.metering.price_tiers import Tier, Tiers
from stead_controller.metering.uses import KINDS, unit_of

_MEMBERS: Final = frozenset({"currency", "instances", "price", "discount"})
_DISCOUNT_MEMBERS: Final = frozenset({"account", "usage", "region", "percent"})
_ALL: Final = "*"
_EVERYWHERE: Final = ""
_MOST_PERCENT_PLACES: Final = 4
_INSTANCE_PRICES: Final = frozenset({"vcpu", "memory", "spot", "dedicated"})
_INSTANCE_MEMBERS: Final = _INSTANCE_PRICES | {"region"}
_PRICE_MEMBERS: Final = frozenset({"usage", "region", "price", "tiers"})
_TIER_MEMBERS: Final = frozenset({"begin", "end", "price"})
_NO_END: Final = "Inf"
_SPOT: Final = "SpotUsage:"  # whose price EC2 tells as one number
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_REGION: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_MOST_TEXT: Final = 1 << 20
_MOST: Final = 10**9
_PLACES: Final = 24


@dataclass(frozen=True, slots=True)
class InstancePrices:
    """What an hour of a vCPU and of a GiB of memory cost, and which part of it Spot and dedicated instances do."""

    vcpu: Decimal
    memory: Decimal
    spot: Decimal = Decimal(1)
    dedicated: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All prices, in one currency, by the names of uses: a whole name counts before the longest that ends with `*`.

    Those of a region (`regional`) count before all others there. `sizes` are the prices of instances by region, and
    `discounts` percents by region and account, and by the names of what they are of, `*` for all; those of no region
    have an empty name, and count where none is of the region.
    """

    currency: str
    prices: Mapping[str, Tiers]
    sizes: Mapping[str, InstancePrices] = field(default_factory=dict)
    discounts: Mapping[tuple[str, str], Mapping[str, Decimal]] = field(default_factory=dict)
    regional: Mapping[str, Mapping[str, Tiers]] = field(default_factory=dict)
    region: str = _EVERYWHERE

    def of(self, region: str) -> "PriceBook":
        """Return the same book with the prices of a region."""
        return replace(self, region=region)

    def only_of(self, region: str) -> "PriceBook":
        """Return a book with nothing but what names a region."""
        sizes = {_EVERYWHERE: self.sizes[region]} if region in self.sizes else {}
        return PriceBook(self.currency, self.regional.get(region, {}), sizes)

    @property
    def regions(self) -> frozenset[str]:
        """The regions whose prices it names."""
        return frozenset(self.regional) | (frozenset(self.sizes) - {_EVERYWHERE})

    @property
    def instances(self) -> InstancePrices | None:
        """What instances cost by their size."""
        return self.sizes.get(self.region, self.sizes.get(_EVERYWHERE))

    @property
    def _here(self) -> Mapping[str, Tiers]:
        return self.regional.get(self.region, {})

    @property
    def tiered(self) -> tuple[str, ...]:
        """The names whose price depends on the amount; some end with `*`."""
        both = (*self.prices.items(), *self._here.items())
        return tuple(dict.fromkeys(name for name, tiers in both if len(tiers) > 1))

    def find(self, usage: str) -> Tiers | None:
        """Return the price that is written for one unit of a use: one for several counts for those of its first unit.

        So `CW:*` is the price of alarms, and of no request.
        """
        for prices in (self._here, self.prices):
            found = _best({name: tiers for name, tiers in prices.items() if _is_of_unit(name, usage)}, usage)
            if found is not None:
                return found
        return None

    def discount(self, account_id: str, usage: str) -> Decimal:
        """Return how many percent less than the price an account pays for a use."""
        for region in (self.region, _EVERYWHERE):
            found = _best(self.discounts.get((region, account_id), {}), usage)
            if found is not None:
                return found
        return Decimal(0)


def _is_of_unit(name: str, usage: str) -> bool:
    """Tell whether the price of this name may be one of a use."""
    return name == usage or (
        name.endswith("*") and usage.startswith(name[:-1]) and unit_of(name[:-1]) == unit_of(usage)
    )


def _best[Value](found: Mapping[str, Value], usage: str) -> Value | None:
    """Return what is written for a name: whole, or the longest that ends with `*`."""
    if usage in found:
        return found[usage]
    fitting = [name for name in found if name.endswith("*") and usage.startswith(name[:-1])]
    return found[max(fitting, key=len)] if fitting else None


def parse(text: str) -> PriceBook:
    """Read a price book; raises InvalidParameter, which says where, unless all of it is right."""
    if len(text) > _MOST_TEXT:
        raise InvalidParameter("The price book is longer than 1 MiB.")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidParameter(f"The price book is no TOML: {error}") from error
    _require(found, "the price book", _MEMBERS, {"currency"})
    currency = found["currency"]
    if not isinstance(currency, str) or len(currency) != 3 or not (currency.isascii() and currency.isupper()):
        raise InvalidParameter(f"currency is {currency!r}, which is no code of ISO 4217 such as EUR.")
    written = found.get("price", [])
    if not isinstance(written, list):
        raise InvalidParameter("price must be a list: [[price]].")
    of_regions: dict[str, dict[str, Tiers]] = {}
    for number, entry in enumerate(written, 1):
        usage, price = _price(entry, f"price {number}")
        region = _region(entry, f"price {number}")
        prices = of_regions.setdefault(region, {})
        if usage in prices:
            raise InvalidParameter(f"There are two prices for {usage}{' in ' if region else ''}{region}.")
        prices[usage] = price
    sizes = _sizes(found.get("instances", []))
    discounts = _discounts(found.get("discount", []))
    prices = of_regions.pop(_EVERYWHERE, {})
    return PriceBook(currency, prices, sizes, discounts, of_regions)


@cache
def default_text() -> str:
    """Return the price book that counts until another is set."""
    return (files(__package__) / "default_prices.toml").read_text(encoding="utf-8")


def _discounts(written: Any) -> dict[tuple[str, str], dict[str, Decimal]]:
    if not isinstance(written, list):
        raise InvalidParameter("discount must be a list: [[discount]].")
    found: dict[tuple[str, str], dict[str, Decimal]] = {}
    for number, entry in enumerate(written, 1):
        where = f"discount {number}"
        _require(entry, where, _DISCOUNT_MEMBERS, {"account", "percent"})
        account = entry["account"]
        if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
            raise InvalidParameter(f"account of {where} is {account!r}: it must be the 12 digits of an account's id.")
        usage = entry.get("usage", _ALL)
        if usage != _ALL:
            usage = _usage(usage, where)
        region = _region(entry, where)
        of_account = found.setdefault((region, account), {})
        if usage in of_account:
            there = f"{' in ' if region else ''}{region}"
            raise InvalidParameter(f"There are two discounts of account {account} for {usage}{there}.")
        percent = _number(entry["percent"], f"percent of {where}")
        if percent > 100 or -int(percent.as_tuple().exponent) > _MOST_PERCENT_PLACES:
            raise InvalidParameter(
                f"percent of {where} is {percent:f}: it must be 100 at most, with {_MOST_PERCENT_PLACES} places."
            )
        of_account[usage] = percent
    return found


def _region(entry: Any, where: str) -> str:
    if "region" not in entry:
        return _EVERYWHERE
    region = entry["region"]
    if not isinstance(region, str) or not _REGION.fullmatch(region):
        raise InvalidParameter(f"region of {where} is {region!r}: it must be the code of a region, eu-central-1.")
    return region


def _usage(usage: Any, where: str) -> str:
    if not isinstance(usage, str) or "*" in usage[:-1]:
        raise InvalidParameter(f"usage of {where} is {usage!r}: it must be a name, which may end with *.")
    if not usage.startswith(KINDS):
        raise InvalidParameter(f"usage of {where} is {usage!r}, which begins with none of {', '.join(KINDS)}.")
    return usage


def _price(entry: Any, where: str) -> tuple[str, Tiers]:
    _require(entry, where, _PRICE_MEMBERS, {"usage"})
    usage = _usage(entry["usage"], where)
    if ("price" in entry) == ("tiers" in entry):
        raise InvalidParameter(f"{where} must have either price or tiers.")
    if "price" in entry:
        return usage, price_tiers.flat(_number(entry["price"], f"price of {where}"))
    if usage.startswith(_SPOT):
        raise InvalidParameter(f"{where} has tiers, which Spot prices cannot have.")
    written = entry["tiers"]
    if not isinstance(written, list):
        raise InvalidParameter(f"tiers of {where} must be a list.")
    tiers = tuple(_tier(tier, f"tier {number} of {where}") for number, tier in enumerate(written, 1))
    price_tiers.require_whole(tiers, where)
    return usage, tiers


def _tier(entry: Any, where: str) -> Tier:
    _require(entry, where, _TIER_MEMBERS, _TIER_MEMBERS)
    end = None if entry["end"] == _NO_END else _number(entry["end"], f"end of {where}")
    return Tier(_number(entry["begin"], f"begin of {where}"), end, _number(entry["price"], f"price of {where}"))


def _sizes(written: Any) -> dict[str, InstancePrices]:
    """Read the prices of instances: a table, or a list of tables of which each has another region, or none."""
    found: dict[str, InstancePrices] = {}
    for number, entry in enumerate(written if isinstance(written, list) else [written], 1):
        where = f"instances {number}" if isinstance(written, list) else "instances"
        _require(entry, where, _INSTANCE_MEMBERS, {"vcpu", "memory"})
        region = _region(entry, where)
        if region in found:
            raise InvalidParameter(f"There are two prices of instances{' in ' if region else ''}{region}.")
        prices = {name: value for name, value in entry.items() if name in _INSTANCE_PRICES}
        found[region] = InstancePrices(**{name: _number(value, f"{name} of {where}") for name, value in prices.items()})
    return found


def _number(value: Any, where: str) -> Decimal:
    """Read a price, which is a text: TOML's own numbers with a point are not exact."""
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or number < 0:
        raise InvalidParameter(f'{where} is {value!r}: it must be a number in quotes that is not negative, "0.05".')
    if number >= _MOST or -int(number.as_tuple().exponent) > _PLACES:
        raise InvalidParameter(
            f"{where} is {value[:40]!r}: it must be less than {_MOST}, with {_PLACES} places at most."
        )
    return number


def _require(entry: Any, where: str, known: frozenset[str], needed: set[str] | frozenset[str]) -> None:
    if not isinstance(entry, dict):
        raise InvalidParameter(f"{where} must be a table.")
    if unknown := sorted(set(entry) - known):
        raise InvalidParameter(f"{where} has {unknown[0]}, which is not known; known are {', '.join(sorted(known))}.")
    if missing := sorted(needed - set(entry)):
        raise InvalidParameter(f"{where} lacks {missing[0]}.")
