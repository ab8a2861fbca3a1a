"""P23: bills of an account with many lines in the ledger: limits 2 s for a month's, 300 ms for a year's by service.

    python -m tests.bench.bills [--instances 10000] [--lines 1000000]

Over a real database: each instance and its volume have been in use for a year, and the lines are those of short-lived
others, most of the last month, some of the eleven before it. Measured are GetBill's lines by usage and, by one call
each, Cost Explorer's answers: a year by service and month, a month by usage and day, and a month by a tag; then the same
with a price book in which everything has tiers. The median of `ROUNDS`, in milliseconds.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from stead_controller.aws.ce import time_periods
from stead_controller.db.session import Database
from stead_controller.db.tables import Base, Budget, PriceBook, UsageLine, UsageMeter, UsageTag
from stead_controller.metering import cost_filter, cost_sums, priced_uses, usage_days
from stead_controller.metering.cost_filter import Filter, Leaf
from stead_controller.metering.cost_sums import Group, Query
from stead_controller.metering.usage_sums import Question
from stead_controller.request.transaction import Transaction
from stead_controller.resources.budgets import periods, spending
from tests.support import empty_database

ROUNDS = 5
LIMITS = {"a month's bill": 2000.0, "a year by service": 300.0}
BY_TIERS = ", by tiers"
ACCOUNT = "1" * 12
TYPES = ("t3.micro", "t3.large", "m5.large", "c5.xlarge")
NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
MONTH = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
YEAR = (datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


def main() -> None:
    """Fill a database, ask for bills, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{empty_database.write(Path(folder) / 'stead.sqlite')}")
        fill(database, asked.instances, asked.lines)
        started = time.perf_counter()
        while database.run_blocking(usage_days.add_lines):
            pass
        while database.run_blocking(lambda tx: usage_days.add_lines_by_tags(tx, NOW)):
            pass
        print(f"days of {asked.lines} lines added up in {time.perf_counter() - started:.1f} s")
        figures = {name: measure(database, question) for name, question in questions().items()}
        database.run_blocking(partial(_insert, PriceBook, [{"valid_from": 1, "text": tiered_prices()}]))
        figures |= {f"{name}{BY_TIERS}": measure(database, question) for name, question in questions().items()}
        database.close()
    for name, found in figures.items():
        print(f"{name}: {found:.0f} ms")
    if any(found > LIMITS.get(name.removesuffix(BY_TIERS), found) for name, found in figures.items()):
        sys.exit("over the limit")


def questions() -> dict[str, Callable[[Any], Any]]:
    """What is asked, by its name."""

    def costs(times: tuple[datetime, datetime], granularity: str, *groups: Group) -> Callable[[Any], Any]:
        begin, end = (int(moment.timestamp()) for moment in times)
        query = Query(ACCOUNT, "us-east-1", time_periods.parts(begin, end, granularity), groups)
        return lambda tx: cost_sums.run(tx, query, NOW)

    edges = (int(MONTH[0].timestamp()), int(NOW.timestamp()))
    return {
        "a month's bill": lambda tx: list(priced_uses.between(tx, edges, NOW, Question(), "here")),
        "a year by service": costs(YEAR, "MONTHLY", Group("DIMENSION", "SERVICE")),
        "a month by usage and day": costs(MONTH, "DAILY", Group("DIMENSION", "USAGE_TYPE")),
        "a month by tag": costs(MONTH, "MONTHLY", Group("TAG", "team")),
        "a look at a month's budget": look(None),
        "a look at a month's budget of a tag": look(Leaf("TAG", "team", frozenset({"team-1"}))),
    }


def tiered_prices() -> str:
    """Write a price book in which each use passes a tier in the first half of a month, and another one later."""
    text = 'currency = "USD"'
    for usage, first in (("BoxUsage:*", 500_000), ("EBS:VolumeUsage*", 3_000)):
        ends = [("0", f"{first}", "0.03"), (f"{first}", f"{3 * first}", "0.02"), (f"{3 * first}", "Inf", "0.01")]
        tiers = ", ".join(f'{{ begin = "{begin}", end = "{end}", price = "{price}" }}' for begin, end, price in ends)
        text += f'\n[[price]]\nusage = "{usage}"\ntiers = [{tiers}]'
    return text


def look(chosen: Filter | None) -> Callable[[Any], Any]:
    """Return what adds up a budget of this month, with its forecast."""
    stored = None if chosen is None else json.dumps(cost_filter.to_json(chosen))
    budget = Budget(account_id=ACCOUNT, name="b", kind="COST", time_unit="MONTHLY", unit="USD", filter=stored)
    period = periods.at("MONTHLY", 0, periods.NEVER, int(NOW.timestamp()))
    return lambda tx: spending.spent(tx, "us-east-1", budget, period, NOW)


def measure(database: Database, question: Callable[[Any], Any]) -> float:
    """Return the median of the milliseconds that an answer takes."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        database.run_blocking(question)
        found.append((time.perf_counter() - started) * 1000)
    return statistics.median(found)


def fill(database: Database, instances: int, lines: int) -> None:
    """Add meters of instances and volumes that go on, and lines of others."""
    chance = random.Random(17)
    since = int((NOW - timedelta(days=330)).timestamp())
    meters = [
        meter
        for number in range(instances)
        for meter in _meters(f"{number:017x}", chance.choice(TYPES), since + chance.randrange(10**7))
    ]
    for table, rows in ((UsageMeter, iter(meters)), (UsageLine, _lines(chance, lines)), (UsageTag, _tags(instances))):
        for batch in batched(rows, 50_000):
            database.run_blocking(partial(_insert, table, list(batch)))


def _insert(table: type[Base], rows: list[dict[str, Any]], tx: Transaction) -> None:
    tx.connection.execute(insert(table), rows)


def _meters(name: str, kind: str, began: int) -> Iterator[dict[str, Any]]:
    about = {"account_id": ACCOUNT, "zone": "us-east-1a", "began": began}
    yield about | _use(f"i-{name}", f"BoxUsage:{kind}", "RunInstances", 1) | {"least": 60}
    yield about | _use(f"vol-{name}", "EBS:VolumeUsage.gp3", "CreateVolume-Gp3", 8) | {"least": 0}


def _lines(chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    month, now = int(MONTH[0].timestamp()), int(NOW.timestamp())
    year = int(YEAR[0].timestamp())
    for number in range(count // 2):
        began = chance.randrange(month, now - 7200) if number % 10 else chance.randrange(year, month)
        about = {
            "account_id": ACCOUNT,
            "zone": "us-east-1a",
            "began": began,
            "ended": began + chance.randrange(60, 7200),
        }
        yield about | _use(f"i-f{number:016x}", f"BoxUsage:{chance.choice(TYPES)}", "RunInstances", 1)
        yield about | _use(f"vol-f{number:016x}", "EBS:VolumeUsage.gp3", "CreateVolume-Gp3", 8)


def _tags(instances: int) -> Iterator[dict[str, Any]]:
    for number in range(instances):
        yield {
            "account_id": ACCOUNT,
            "key": "team",
            "resource_id": f"i-{number:017x}",
            "began": 0,
            "ended": None,
            "value": f"team-{number % 10}",
        }


def _use(resource_id: str, usage: str, operation: str, quantity: int) -> dict[str, Any]:
    return {"resource_id": resource_id, "usage": usage, "operation": operation, "quantity": quantity}


if __name__ == "__main__":
    main()
