"""`stead bill`: what accounts used in a month, and what it costs."""

import csv
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import click
from click.core import ParameterSource

from stead_cli import focus, invoice, settings
from stead_cli.operator import Operator
from stead_cli.output import say, show_json, show_rows
from stead_cli.price import read_book
from stead_proto.v1 import operator_pb2 as pb

_CENT: Final = Decimal("0.01")
_KEYS: Final[dict[str, Callable[[pb.BillLine], tuple[str, ...]]]] = {
    "usage": lambda line: (line.account_id, line.service, line.usage),
    "service": lambda line: (line.account_id, line.service),
    "account": lambda line: (line.account_id,),
    "resource": lambda line: (line.account_id, line.resource_id, line.usage),
    "type": lambda line: (line.account_id, _type_of(line.usage)),
    "day": lambda line: (line.account_id, f"{datetime.fromtimestamp(line.begin, UTC):%Y-%m-%d}"),
}
_COLUMNS: Final = {
    "usage": ("account", "service", "usage"),
    "service": ("account", "service"),
    "account": ("account",),
    "resource": ("account", "resource", "usage"),
    "type": ("account", "type"),
    "day": ("account", "day"),
}
_HAVE_QUANTITY: Final = frozenset({"usage", "resource"})
_TAG: Final = "tag:"
_ISSUER: Final = "Stead"
_FOCUS, _HTML = "focus", "html"
_OF_TYPES: Final = ("BoxUsage", "SpotUsage", "DedicatedUsage", "HostBoxUsage", "UnusedBox")
_BAR: Final = 30  # characters
_IN_MEMORY: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class _Division:
    """How a bill is divided: the columns of its lines, and whether they have quantities."""

    columns: tuple[str, ...]
    key: Callable[[pb.BillLine], tuple[str, ...]]
    has_quantity: bool
    by_resource: bool = False
    tag_keys: tuple[str, ...] = ()
    by_day: bool = False


class _By(click.ParamType[_Division]):
    """A way to divide a bill, or `tag:` and a tag's key."""

    name = "by"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Division:
        """Read it; click says which ones there are."""
        if isinstance(value, _Division):
            return value
        if value in _KEYS:
            return _Division(
                _COLUMNS[value],
                _KEYS[value],
                value in _HAVE_QUANTITY,
                by_resource=value == "resource",
                by_day=value == "day",
            )
        key = value.removeprefix(_TAG)
        if key in {"", value}:
            self.fail(f"{value!r} is none of {', '.join(sorted(_KEYS))} and {_TAG}KEY.", param, ctx)
        return _Division(
            ("account", value), lambda line: (line.account_id, line.tags.get(key, "")), False, tag_keys=(key,)
        )


@click.command()
@click.option("--month", metavar="YYYY-MM", default="", help="Default: this month, until now.")
@click.option("--day", metavar="YYYY-MM-DD", default="", help="One day instead of a month, in UTC.")
@click.option("--account", default="", help="Id or name; default: all.")
@click.option(
    "--by",
    type=_By(),
    default="usage",
    show_default=True,
    metavar="|".join((*sorted(_KEYS), f"{_TAG}KEY")),
    help="What has a line: for tag:KEY each value of that cost allocation tag, empty without.",
)
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A price book that counts instead, such as AWS's prices: stead price import.",
)
@click.option(
    "--output",
    type=click.Choice(["table", "json", "csv", _FOCUS, _HTML]),
    default="table",
    show_default=True,
    help="A table (plain lines when not on a terminal), JSON, CSV, CSV by FOCUS 1.4 (by day and resource), or a page "
    "to print, with an invoice for each account.",
)
@click.option("--tag", "tags", multiple=True, metavar="KEY", help="For focus: a cost allocation tag; four at most.")
@click.option("--issuer", help="For focus and html: who provides the cloud and makes the bill; default: Stead.")
def bill(  # noqa: PLR0917 - one for each option
    month: str,
    day: str,
    account: str,
    by: _Division,
    prices: Path | None,
    output: str,
    tags: tuple[str, ...],
    issuer: str | None,
) -> None:
    """Show what accounts used, to the second, and what it costs."""
    begin, end = _day(day) if day else _month(month)
    book = None if prices is None else read_book(prices)
    if output == _FOCUS:
        _refuse_given("by", "--output focus has a line for each resource and day")
        _write_focus(begin, end, account, book, tags, issuer or _ISSUER)
        return
    _refuse_given("tags", "it is for --output focus; else --by tag:KEY")
    operator = Operator(settings.load())
    times = list(_days(begin, end)) if by.by_day else [(int(begin.timestamp()), int(end.timestamp()))]
    found = [
        line
        for first, last in times
        for line in operator.bill(account, first, last, by_resource=by.by_resource, tag_keys=by.tag_keys, prices=book)
    ]
    if output == _HTML:
        _refuse_given("by", "--output html has a line for each use")
        click.echo(invoice.page(found, begin, end, issuer or _ISSUER), nl=False)
        return
    _refuse_given("issuer", "it is for --output focus and html")
    rows = _rows(found, by)
    columns = (*by.columns, *(("quantity", "unit") if by.has_quantity else ()), "cost", "currency")
    if output == "json":
        show_json(rows)
    elif output == "csv":
        _write_csv(rows, columns)
    else:
        if by.by_day and sys.stdout.isatty():
            columns = (*columns, "chart")
            rows = [row | {"chart": chart} for row, chart in zip(rows, bars(rows), strict=True)]
        show_rows(rows, columns, output, empty=f"nothing was used from {begin:%Y-%m-%d} until {end:%Y-%m-%d}")
        _say_end(found)


def _refuse_given(name: str, why: str) -> None:
    """Refuse an option that would have no effect."""
    context = click.get_current_context()
    if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        option = next(each for each in context.command.params if each.name == name)
        raise click.BadParameter(f"{why}.", context, option)


def _rows(lines: Iterable[pb.BillLine], by: _Division) -> list[dict[str, Any]]:
    """Add up the lines that have the same key; a cost is rounded to four places, where a sum of many still is right."""
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    for line in lines:
        key = (*by.key(line), line.unit if by.has_quantity else "", line.currency)
        quantity, cost = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = (quantity + Decimal(line.quantity), cost + Decimal(line.cost))
    return [
        dict(zip(by.columns, key, strict=False))
        | ({"quantity": f"{quantity:.4f}", "unit": key[-2]} if by.has_quantity else {})
        | {"cost": f"{cost:.4f}", "currency": key[-1]}
        for key, (quantity, cost) in sorted(sums.items())
    ]


def bars(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Draw a bar for the cost of each row; the largest cost of a currency has the longest."""
    most: dict[str, Decimal] = {}
    for row in rows:
        most[row["currency"]] = max(most.get(row["currency"], Decimal(0)), Decimal(row["cost"]))
    lengths = (Decimal(row["cost"]) * _BAR / (most[row["currency"]] or 1) for row in rows)
    return ["\u2588" * int(length.to_integral_value(ROUND_HALF_UP)) for length in lengths]


def _type_of(usage: str) -> str:
    """Return the instance type of a use, if it is of an instance."""
    kind, _, name = usage.partition(":")
    return name if kind in _OF_TYPES else "none"


def _days(begin: datetime, end: datetime) -> Iterator[tuple[int, int]]:
    """Yield when each day begins and ends."""
    while begin < end:
        following = begin + timedelta(days=1)
        yield int(begin.timestamp()), int(following.timestamp())
        begin = following


def _write_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_focus(  # noqa: PLR0917 - what is asked for
    begin: datetime, end: datetime, account: str, book: str | None, tags: tuple[str, ...], issuer: str
) -> None:
    """Ask day by day, so that no answer is large, and print only when all are there."""
    config = settings.load()
    operator = Operator(config)
    with SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, focus.COLUMNS, lineterminator="\n")
        writer.writeheader()
        for times in _days(begin, end):
            found = operator.bill(account, *times, by_resource=True, by_zone=True, tag_keys=tags, prices=book)
            writer.writerows(focus.rows(found, config.region, issuer))
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout)


def _say_end(lines: Iterable[pb.BillLine]) -> None:
    """Say the sum, and what has no price."""
    sums: dict[str, Decimal] = {}
    unpriced: set[str] = set()
    for line in lines:
        sums[line.currency] = sums.get(line.currency, Decimal(0)) + Decimal(line.cost)
        if not line.price:
            unpriced.add(line.usage)
    for currency, cost in sorted(sums.items()):
        say(f"total {cost.quantize(_CENT, ROUND_HALF_UP)} {currency}")
    if unpriced:
        say(f"no price: {', '.join(sorted(unpriced))} (stead price show)")


def _month(text: str) -> tuple[datetime, datetime]:
    try:
        begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC) if text else _this_month()
        return begin, (begin + timedelta(days=31)).replace(day=1)
    except (OverflowError, ValueError) as error:  # no calendar has what follows the year 9999
        raise click.BadParameter(f"{text!r} is no month such as 2026-11.", param_hint="--month") from error


def _this_month() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _day(text: str) -> tuple[datetime, datetime]:
    try:
        begin = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return begin, begin + timedelta(days=1)
    except (OverflowError, ValueError) as error:
        raise click.BadParameter(f"{text!r} is no day such as 2026-11-30.", param_hint="--day") from error
