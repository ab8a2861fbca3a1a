"""Reads the SQL of an export: columns of one table, which may get other names; pure.

Syntax: https://docs.aws.amazon.com/cur/latest/userguide/de-data-query.html.
"""

import re
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.data_exports import tables
from stead_controller.resources.data_exports.tables import Table

_NAME: Final = re.compile(r"\w+")
_MOST_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class Statement:
    """What is exported: columns of a table, each with the name that its file has."""

    table: Table
    columns: tuple[tuple[str, str], ...]


def parse(text: str) -> Statement:
    """Read a statement, in linear time; raises InvalidParameter, and Unsupported for more of SQL."""
    words = text.removesuffix(";").split()
    upper = [word.upper() for word in words]
    place = upper.index("FROM") if "FROM" in upper else len(words)
    if upper[:1] != ["SELECT"] or place + 1 >= len(words):
        raise InvalidParameter("The query statement must be: SELECT columns FROM table.")
    if more := " ".join(words[place + 2 :]):
        raise Unsupported(f"{more[:50]!r} in a query statement is not supported by this cloud: name columns only.")
    table = tables.find(upper[place + 1])
    columns = tuple(_column(each, table) for each in " ".join(words[1:place]).split(","))
    shown = [name for _, name in columns]
    if len(set(shown)) < len(shown):
        raise InvalidParameter("The query statement has two columns of one name.")
    return Statement(table, columns)


def _column(text: str, table: Table) -> tuple[str, str]:
    words = text.split()
    if len(words) == 3 and words[1].upper() == "AS":
        words = [words[0], words[2]]
    elif len(words) != 1:
        words = []
    if not words or not all(_NAME.fullmatch(word) for word in words):
        raise InvalidParameter(
            f"{text.strip()[:100]!r} is no column of {table.name}: name each column that is exported."
        )
    name, shown = words[0], words[-1]
    if name not in table.columns:
        raise InvalidParameter(f"The table {table.name} has no column {name[:100]}.")
    if len(shown) > _MOST_NAME:
        raise InvalidParameter(f"The name of a column has {_MOST_NAME} characters at most.")
    return name, shown
