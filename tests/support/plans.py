"""Which rows a statement of SQL reads, as far as SQLite's plan tells: those of one account, or anybody's."""

import re
from collections.abc import Iterator
from sqlite3 import Connection
from typing import Any

# What the rows that a step finds have: an account, something that was found in it, or that everybody may see them.
_NARROW = re.compile(
    r"SEARCH \S+ USING (COVERING )?INDEX \w+ \((account_id|accepter_account_id|principal_id|route_table_id|public)=\?"
)
_STEP = re.compile(r"(SCAN|SEARCH) ")


def steps_of_anybody(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    """Steps of a statement's plan that may read a row of whoever's, as https://www.sqlite.org/eqp.html tells them.

    The later tables of a join do not count, nor a correlated subquery: they are read for a row that was found before.
    """
    if not re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)\b", statement):
        return
    begun: set[int] = set()
    for step, parent, _, detail in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters):
        if detail.startswith("CORRELATED"):
            begun.add(step)
        if _STEP.match(detail):
            if parent not in begun and not _NARROW.match(detail):
                yield detail
            begun.add(parent)
