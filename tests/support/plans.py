"""Which rows an SQL statement reads, according to SQLite's query plan: those of one account, or of any account."""

import re
from collections.abc import Iterator
from sqlite3 import Connection
from typing import Any

# A narrow step finds rows by an account, by something found in one, or by being public.
_NARROW = re.compile(
    r"SEARCH \S+ USING (COVERING )?INDEX \w+ \((account_id|accepter_account_id|principal_id|route_table_id|public)=\?"
)
_STEP = re.compile(r"(SCAN|SEARCH) ")


def steps_for_any_account(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    """Yield the steps of a statement's query plan (https://www.sqlite.org/eqp.html) that may read any account's rows.

    The later tables of a join and correlated subqueries do not count: they are read for a row that was already found.
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
