"""DuckDB reads what `stead bill` writes by FOCUS, guesses its types, and comes to the same sums as the bill."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from stead_cli import settings
from stead_cli.__main__ import cli
from stead_controller.db.session import Database
from stead_controller.db.tables import UsageLine, UsageTag
from tests.support import bill_service, empty_database
from tests.support.processes import clean_environment

ONE, OTHER = "0" * 11 + "1", "2" * 12
NOV = datetime(2026, 11, 1, tzinfo=UTC)
GIB = 1 << 30
# Prices with which each sum is large enough to differ, the traffic's in tiers.
BOOK = """
currency = "EUR"
[[price]]
usage = "BoxUsage:*"
price = "3.3333"
[[price]]
usage = "TimedStorage-ByteHrs"
price = "0.7"
[[price]]
usage = "CW:Requests"
price = "0.0123"
[[price]]
usage = "DataTransfer-Out-Bytes"
tiers = [{begin = "0", end = "10", price = "0.5"}, {begin = "10", end = "Inf", price = "0.25"}]
"""
# What a user of it would ask; ids are text, or a leading zero would be lost.
QUERIES = """
import duckdb, json, sys
rows = duckdb.read_csv(sys.argv[1], dtype={"SubAccountId": "VARCHAR"})
types = dict(zip(rows.columns, map(str, rows.types)))
sums = duckdb.sql(
    "SELECT SubAccountId, x_UsageType, printf('%.4f', sum(PricingQuantity)), printf('%.4f', sum(BilledCost)) "
    "FROM rows GROUP BY ALL"
).fetchall()
zones, teams = (
    duckdb.sql(f"SELECT DISTINCT {what} FROM rows ORDER BY ALL NULLS FIRST").fetchall()
    for what in ("AvailabilityZone", "Tags ->> 'team'")
)
month = duckdb.sql("SELECT DISTINCT CAST(date_trunc('month', ChargePeriodStart) AS DATE)::VARCHAR FROM rows").fetchall()
print(json.dumps({"types": types, "sums": sums, "zones": zones, "teams": teams, "month": month}))
"""


def used(tx, account_id, resource, usage, operation, days, quantity, seconds=1, zone=""):  # noqa: PLR0917 - what a line of the ledger has
    began = int((NOV + timedelta(days=days)).timestamp())
    tx.session.add(
        UsageLine(
            account_id=account_id, resource_id=resource, usage=usage, operation=operation, zone=zone,
            quantity=quantity, began=began, ended=began + seconds,
        )
    )  # fmt: skip


def write(tx):
    for account_id in (ONE, OTHER):
        used(tx, account_id, "i-1", "BoxUsage:t3.micro", "RunInstances", 3, 1, 31 * 3600, "us-east-1a")
        used(tx, account_id, "bucket", "TimedStorage-ByteHrs", "StandardStorage", 5, 5000 * GIB * 720)
    used(tx, ONE, "bucket", "DataTransfer-Out-Bytes", "GetObject", 6, 7 * GIB)
    used(tx, ONE, "bucket", "DataTransfer-Out-Bytes", "GetObject", 8, 8 * GIB + 12345)
    used(tx, OTHER, "metrics", "CW:Requests", "PutMetricData", 7, 4321)
    began = int((NOV + timedelta(days=4)).timestamp())
    tx.session.add(UsageTag(account_id=ONE, key="team", resource_id="i-1", began=began, ended=None, value='ä, "b"'))


@pytest.fixture
def bill(tmp_path, monkeypatch):
    """Run `stead bill` for November with the prices here; gives its stdout."""
    database = Database(f"sqlite:///{empty_database.write(tmp_path / 'stead.sqlite')}")
    database.run_blocking(write)
    book = tmp_path / "prices.toml"
    book.write_text(BOOK, encoding="utf-8")

    def run(*arguments):
        done = CliRunner().invoke(cli, ("bill", "--month", "2026-11", "--prices", str(book), *arguments))
        assert done.exit_code == 0, done.output
        return done.stdout

    with bill_service.served(database, lambda: NOV + timedelta(days=45), tmp_path) as own:
        monkeypatch.setattr(settings, "load", lambda: own)
        yield run
    database.close()


@pytest.mark.client("duckdb")
def test_it_reads_focus_and_comes_to_the_same_sums(client, bill, tmp_path):
    file = tmp_path / "focus.csv"
    file.write_text(bill("--output", "focus", "--tag", "team"), encoding="utf-8")
    done = subprocess.run(
        [client / "venv/bin/python", "-c", QUERIES, file],
        env=clean_environment(HOME=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    lines = json.loads(bill("--output", "json"))
    assert sorted(found["sums"]) == sorted(
        [line["account"], line["usage"], line["quantity"], line["cost"]] for line in lines
    )
    assert len(lines) == 6
    assert all(float(line["cost"]) > 1 for line in lines)
    numbers = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "ListUnitPrice", "PricingQuantity")
    assert {found["types"][name] for name in numbers} == {"DOUBLE"}
    moments = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
    assert {found["types"][name].partition(" ")[0] for name in moments} == {"TIMESTAMP"}
    assert found["zones"] == [[None], ["us-east-1a"]]
    assert found["teams"] == [[None], ['ä, "b"']]
    assert found["month"] == [["2026-11-01"]]
