"""Reads AWS's price list files, as JSON or as CSV, row by row; what each one says stays as it is written.

Their form: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from stead_cli.errors import CliError
from stead_cli.json_members import BadJsonError, JsonMembers

_ON_DEMAND: Final = "OnDemand"
_METADATA_LINES: Final = 5
_COLUMNS: Final = ("SKU", "TermType", "StartingRange", "EndingRange", "Unit", "PricePerUnit", "Currency", "usageType")


class Sold(NamedTuple):
    """What a product is, and in which region; messages call it by its name."""

    usage: str
    region: str

    def __str__(self) -> str:
        """Name the use."""
        return self.usage


type UsageOf = Callable[[Mapping[str, str]], Sold | None]
"""Tells what a product is, by its attributes, whose names have small letters and digits only; None: not of interest."""


@dataclass(frozen=True, slots=True)
class Rate:
    """An On-Demand price of a use in a region, from `begin` to `end` units."""

    sold: Sold
    unit: str
    price: str
    currency: str
    begin: str
    end: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Which service's prices a file has, and of which version."""

    service: str
    version: str


def read(path: Path, usage_of: UsageOf) -> tuple[Origin, list[Rate]]:
    """Read the prices of the products that are of interest; raises CliError for a file that is none of these."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.read(1)
            file.seek(0)
            return _read_json(file, usage_of) if first == "{" else _read_csv(file, usage_of)
    except (BadJsonError, csv.Error) as error:
        raise CliError(f"{path} is no price list file of AWS: {error}") from error
    except RecursionError as error:
        raise CliError(f"{path} is no price list file of AWS: it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is no price list file of AWS: it is no UTF-8", "unpack it first") from error
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from error


def plain(name: str) -> str:
    """Write the name of an attribute as both forms have it: `Pre Installed S/W` is `preinstalledsw`."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _read_json(file: TextIO, usage_of: UsageOf) -> tuple[Origin, list[Rate]]:
    text = JsonMembers(file)
    about: dict[str, Any] = {"offerCode": "", "version": ""}
    usages: dict[str, Sold] = {}
    rates: list[Rate] = []
    seen = set()
    for key in text.members():
        seen.add(key)
        if key in about:
            about[key] = text.value()
        elif key == "products":
            usages = dict(_products(text, usage_of))
        elif key == "terms":
            if "products" not in seen:
                raise BadJsonError("the terms come before the products")
            rates = [rate for found in _terms(text, usages) for rate in found]
        else:
            text.skip()
    text.require_end()
    if not {"products", "terms"} <= seen:
        raise BadJsonError("it has no products or no terms")
    return Origin(str(about["offerCode"]), str(about["version"])), rates


def _products(text: JsonMembers, usage_of: UsageOf) -> Iterator[tuple[str, Sold]]:
    for sku in text.members():
        match text.value():
            case {"attributes": {**attributes}}:
                usage = usage_of({plain(str(name)): str(value) for name, value in attributes.items()})
                if usage is not None:
                    yield sku, usage
            case _:
                raise BadJsonError(f"the product {sku} has no attributes")


def _terms(text: JsonMembers, usages: Mapping[str, Sold]) -> Iterator[Iterator[Rate]]:
    for kind in text.members():
        if kind != _ON_DEMAND:
            text.skip()
            continue
        for sku in text.members():
            found = text.value()
            if sku in usages:
                yield _rates(usages[sku], found)


def _rates(usage: Sold, terms: Any) -> Iterator[Rate]:
    try:
        for term in terms.values():
            for one in term["priceDimensions"].values():
                for currency, price in one["pricePerUnit"].items():
                    yield Rate(usage, one["unit"], price, currency, one["beginRange"], one["endRange"])
    except (AttributeError, KeyError, TypeError) as error:
        raise BadJsonError(f"the terms of {usage} have another form") from error


def _read_csv(file: TextIO, usage_of: UsageOf) -> tuple[Origin, list[Rate]]:
    lines = csv.reader(file, strict=True)
    about = {line[0]: line[1] for line in islice(lines, _METADATA_LINES) if len(line) > 1}
    header = next(lines, [])
    if missing := [name for name in _COLUMNS if name not in header]:
        raise csv.Error(f"the sixth line has no column {missing[0]}")
    where = {name: header.index(name) for name in _COLUMNS}
    names = [plain(name) for name in header]
    rates = []
    for number, line in enumerate(lines, _METADATA_LINES + 2):
        if len(line) != len(header):
            raise csv.Error(f"row {number} has {len(line)} values, and there are {len(header)} columns")
        if line[where["TermType"]] != _ON_DEMAND:
            continue
        usage = usage_of(dict(zip(names, line, strict=True)))
        if usage is not None:
            unit, price, currency, begin, end = (
                line[where[name]] for name in ("Unit", "PricePerUnit", "Currency", "StartingRange", "EndingRange")
            )
            rates.append(Rate(usage, unit, price, currency, begin, end))
    return Origin(about.get("OfferCode", ""), about.get("Version", "")), rates
