"""Whether `db/prepared.py` is worth what it costs to understand: one row found by its key, in three ways.

    python -m tests.bench.prepared_statements [--rounds 9] [--database URL]

Each round executes the same SELECT of a tag by its resource's id, and the same INSERT, by SQLAlchemy's Core (whose compiled form
is found in its cache), as a lambda statement, and as a `Prepared`; alternately, in a process, so that other work of the machine
slows all of them. CPU seconds of the process are counted: of a database in another process its own part is left out. The URL may be of
PostgreSQL, whose driver must be installed (`pip install psycopg[binary]`); it gets the tables, and they are removed again.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, bindparam, create_engine, delete, insert, lambda_stmt, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Tag

TIMES: Final = 400
ROWS: Final = 1000
LEAST: Final = 1.5  # gained less, it would not be worth a file that goes below SQLAlchemy's public API
_SELECT: Final = select(Tag.resource_id, Tag.key, Tag.value, Tag.account_id).where(
    Tag.resource_id.in_(bindparam("ids", expanding=True))
)
_INSERT: Final = insert(Tag)
_PREPARED_SELECT: Final = Prepared(_SELECT)
_PREPARED_INSERT: Final = Prepared(_INSERT)


def row(number: int) -> dict[str, str]:
    """The values of a tag."""
    return {
        "resource_id": f"i-{number:017x}",
        "key": "Name",
        "value": "web",
        "account_id": "1" * 12,
        "resource_type": "instance",
    }


def by_lambda(connection: Connection, ids: list[str]) -> list[Any]:
    """Find a row by a lambda statement, which SQLAlchemy builds once for the place in the code."""
    statement = lambda_stmt(lambda: select(Tag.resource_id, Tag.key, Tag.value, Tag.account_id))
    statement += lambda found: found.where(Tag.resource_id.in_(ids))
    return list(connection.execute(statement).all())


def insert_by_lambda(connection: Connection, values: dict[str, str]) -> None:
    """Add a row by a lambda statement."""
    connection.execute(lambda_stmt(lambda: insert(Tag)), values)


WAYS: Final[dict[str, tuple[Callable[[Connection, list[str]], Any], Callable[[Connection, dict[str, str]], Any]]]] = {
    "Core": (
        lambda connection, ids: connection.execute(_SELECT, {"ids": ids}).all(),
        lambda connection, values: connection.execute(_INSERT, values),
    ),
    "lambda": (by_lambda, insert_by_lambda),
    "Prepared": (
        lambda connection, ids: _PREPARED_SELECT.all(connection, {"ids": ids}),
        _PREPARED_INSERT.all,
    ),
}


def measure(connection: Connection, way: str) -> tuple[float, float]:
    """Microseconds of CPU that one SELECT and one INSERT take."""
    find, add = WAYS[way]
    began = time.process_time()
    for number in range(TIMES):
        assert len(find(connection, [f"i-{number % ROWS:017x}"])) == 1
    selected = time.process_time()
    for number in range(TIMES):
        add(connection, row(ROWS + number))
    ended = time.process_time()
    connection.execute(delete(Tag).where(Tag.resource_id >= f"i-{ROWS:017x}"))
    return (selected - began) / TIMES * 1e6, (ended - selected) / TIMES * 1e6


def main() -> int:
    """Measure alternately, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--database", help="a URL of SQLAlchemy's; default: an SQLite file of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stead-bench-") as folder:
        engine = create_engine(options.database or f"sqlite:///{Path(folder) / 'bench.sqlite'}")
        table: Any = Tag.__table__
        table.create(engine)
        try:
            taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
            with engine.begin() as connection:
                connection.execute(_INSERT, [row(number) for number in range(ROWS)])
                for way in WAYS:  # what is compiled once is compiled now
                    measure(connection, way)
                for _ in range(options.rounds):
                    for way in WAYS:
                        taken[way].append(measure(connection, way))
        finally:
            table.drop(engine)
            engine.dispose()
    medians = {way: tuple(statistics.median(each) for each in zip(*found, strict=True)) for way, found in taken.items()}
    for way, (selecting, inserting) in medians.items():
        print(f"{way:9} SELECT {selecting:6.1f} µs   INSERT {inserting:6.1f} µs")
    best = [min(medians[way][kind] for way in ("Core", "lambda")) / medians["Prepared"][kind] for kind in (0, 1)]
    print(
        f"Prepared is {best[0]:.1f} and {best[1]:.1f} times as fast as the better of the others ({engine.dialect.name})"
    )
    return int(min(best) < LEAST)


if __name__ == "__main__":
    sys.exit(main())
