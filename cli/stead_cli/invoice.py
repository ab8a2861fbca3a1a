"""A bill as a page to print: one invoice for each account; pure HTML, without scripts or anything from elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from html import escape
from typing import Final

from stead_proto.v1 import operator_pb2 as pb

_CENT: Final = Decimal("0.01")
_STYLE: Final = """
body { font: 11pt sans-serif; margin: 2cm; color: #000; background: #fff }
section { break-after: page; margin-bottom: 3em }
section:last-of-type { break-after: auto }
table { border-collapse: collapse; width: 100% }
th, td { padding: .3em .6em; border-bottom: 1px solid #bbb; text-align: left; vertical-align: top }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tfoot td { font-weight: bold; border-top: 2px solid #000 }
"""
_COLUMNS: Final = ("Service", "Use", "Quantity", "Unit", "Price of a unit", "Cost")


@dataclass(frozen=True, slots=True, order=True)
class _Item:
    """What is added up to one line of an invoice."""

    service: str
    usage: str
    currency: str
    price: str
    unit: str


def page(lines: Iterable[pb.BillLine], begin: datetime, end: datetime, issuer: str) -> str:
    """Write the invoices of a time, until `end`, which is not part of it, for all accounts that used something."""
    accounts: dict[tuple[str, str], dict[_Item, tuple[Decimal, Decimal]]] = {}
    for line in lines:
        items = accounts.setdefault((line.account_id, line.account_name), {})
        item = _Item(line.service, line.usage, line.currency, line.contracted_price or line.price, line.unit)
        quantity, cost = items.get(item, (Decimal(0), Decimal(0)))
        items[item] = quantity + Decimal(line.quantity), cost + Decimal(line.cost)
    sections = [
        _section(account_id, name, accounts[account_id, name], begin, end, issuer)
        for account_id, name in sorted(accounts)
    ]
    title = escape(f"{issuer}: {begin:%Y-%m-%d} to {end:%Y-%m-%d}")
    nothing = "" if sections else "<p>Nothing was used in this time.</p>\n"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{''.join(sections)}{nothing}</body>\n</html>\n"
    )


def _section(  # noqa: PLR0917 - what an invoice says
    account_id: str,
    name: str,
    items: dict[_Item, tuple[Decimal, Decimal]],
    begin: datetime,
    end: datetime,
    issuer: str,
) -> str:
    rows = [
        _row(item.service, item.usage, f"{quantity:.4f}", item.unit, _price(item), f"{cost:.4f} {item.currency}")
        for item, (quantity, cost) in sorted(items.items())
    ]
    sums: dict[str, Decimal] = {}
    for item, (_, cost) in items.items():
        sums[item.currency] = sums.get(item.currency, Decimal(0)) + cost
    totals = [
        f'<tr><td colspan="5">Total</td><td class="number">'
        f"{total.quantize(_CENT, ROUND_HALF_UP)} {escape(currency)}</td></tr>\n"
        for currency, total in sorted(sums.items())
    ]
    head = "".join(f"<th{_of_numbers(place)}>{title}</th>" for place, title in enumerate(_COLUMNS))
    return (
        f"<section>\n<h1>{escape(issuer)}</h1>\n<p>Account {escape(account_id)} {escape(name)}<br>\n"
        f"From {begin:%Y-%m-%d} until {end:%Y-%m-%d} (not included), in UTC</p>\n"
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n"
        f"<tfoot>\n{''.join(totals)}</tfoot>\n</table>\n"
        "<p>Costs are added up exactly; each total is rounded once.</p>\n</section>\n"
    )


def _price(item: _Item) -> str:
    return f"{item.price} {item.currency}" if item.price else "none"


def _row(*cells: str) -> str:
    shown = "".join(f"<td{_of_numbers(place)}>{escape(cell)}</td>" for place, cell in enumerate(cells))
    return f"<tr>{shown}</tr>\n"


def _of_numbers(place: int) -> str:
    return ' class="number"' if _COLUMNS[place] in {"Quantity", "Price of a unit", "Cost"} else ""
