"""`stead bill` and `stead price` against a controller's service over a real database."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stead_cli import settings
from stead_cli.__main__ import cli
from stead_cli.bill import bars
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_controller.db.session import Database
from stead_controller.db.tables import Account, UsageTag
from stead_controller.metering import ledger, skus
from stead_controller.metering.ledger import Resource, Use
from tests.support import bill_service, empty_database
from tests.unit.cli.aws_prices import Product, as_json

ONE, OTHER = "1" * 12, "2" * 12
NOV = datetime(2026, 11, 1, tzinfo=UTC)
type Command = Callable[..., Result]


@pytest.fixture
def clock() -> list[datetime]:
    """The time of the service, which a test may set."""
    return [datetime(2026, 12, 15, tzinfo=UTC)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database in which two accounts have used some things in November of 2026."""
    made = Database(f"sqlite:///{empty_database.write(tmp_path / 'stead.sqlite')}")

    def use(tx: Any) -> None:
        for account, hours in ((ONE, 10), (OTHER, 5)):
            box = Resource(f"i-{account}", account, "a")
            ledger.begin(tx, box, [Use("BoxUsage:t3.micro", "RunInstances", least=60)], NOV)
            ledger.end(tx, box, NOV.replace(hour=hours))
        volume = Resource("vol-1", ONE, "a")
        ledger.begin(tx, volume, [Use("EBS:VolumeUsage.gp3", "CreateVolume-Gp3", 30)], NOV.replace(day=16))
        ledger.begin(tx, Resource("i-3", ONE, "a"), [Use("BoxUsage:gone.type", "RunInstances")], NOV.replace(day=30))

    made.run_blocking(use)
    yield made
    made.close()


@pytest.fixture
def command(
    database: Database, clock: list[datetime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """Run the command against the service."""
    with bill_service.served(database, lambda: clock[0], tmp_path) as own:
        monkeypatch.setattr(settings, "load", lambda: own)
        yield lambda *arguments: CliRunner().invoke(cli, arguments)


def rows(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, str]] = json.loads(result.stdout)
    return found


def test_a_month_by_usage_and_by_account(command: Command) -> None:
    found = rows(command("bill", "--month", "2026-11", "--output", "json"))
    box = 2 * 0.0025 + 0.0006  # two vCPUs and one GiB
    assert [(row["account"], row["usage"], row["quantity"], row["unit"], row["cost"]) for row in found] == [
        (ONE, "BoxUsage:gone.type", "24.0000", "Hrs", "0.0000"),
        (ONE, "BoxUsage:t3.micro", "10.0000", "Hrs", f"{10 * box:.4f}"),
        (ONE, "EBS:VolumeUsage.gp3", "15.0000", "GB-Mo", "0.1800"),
        (OTHER, "BoxUsage:t3.micro", "5.0000", "Hrs", f"{5 * box:.4f}"),
    ]
    found = rows(command("bill", "--month", "2026-11", "--by", "account", "--output", "json"))
    assert [(row["account"], row["cost"], row["currency"]) for row in found] == [
        (ONE, "0.2360", "USD"),
        (OTHER, "0.0280", "USD"),
    ]
    shown = command("bill", "--month", "2026-11", "--by", "service")
    assert "total 0.26 USD" in shown.stderr
    assert "no price: BoxUsage:gone.type" in shown.stderr


def test_a_day_a_resource_and_csv(command: Command) -> None:
    found = rows(command("bill", "--day", "2026-11-17", "--output", "json"))
    assert [(row["usage"], row["quantity"]) for row in found] == [("EBS:VolumeUsage.gp3", "1.0000")]
    shown = command("bill", "--month", "2026-11", "--by", "resource", "--output", "csv").stdout.splitlines()
    assert shown[0] == "account,resource,usage,quantity,unit,cost,currency"
    assert f"{OTHER},i-{OTHER},BoxUsage:t3.micro,5.0000,Hrs,0.0280,USD" in shown
    assert command("bill", "--month", "2025-01").stderr.startswith("nothing was used from 2025-01-01 until 2025-02-01")


def test_a_month_by_the_values_of_a_tag(command: Command, database: Database) -> None:
    def tag(tx: Any) -> None:
        began, ended = (int(NOV.replace(hour=hour).timestamp()) for hour in (4, 6))
        row = UsageTag(account_id=ONE, key="team", resource_id=f"i-{ONE}", began=began, ended=ended, value="a,b")
        tx.session.add(row)

    database.run_blocking(tag)
    found = rows(command("bill", "--month", "2026-11", "--by", "tag:team", "--output", "json"))
    assert [(row["account"], row["tag:team"], row["cost"]) for row in found] == [
        (ONE, "", "0.2248"),
        (ONE, "a,b", "0.0112"),
        (OTHER, "", "0.0280"),
    ]
    shown = command("bill", "--month", "2026-11", "--by", "tag:team", "--output", "csv").stdout.splitlines()
    assert shown[0] == "account,tag:team,cost,currency"
    assert f'{ONE},"a,b",0.0112,USD' in shown


def test_what_goes_on_is_billed_until_now_and_months_have_their_length(command: Command, clock: list[datetime]) -> None:
    clock[0] = datetime(2026, 12, 1, 12, tzinfo=UTC)
    found = rows(command("bill", "--month", "2026-12", "--output", "json"))
    assert [(row["usage"], row["quantity"]) for row in found] == [
        ("BoxUsage:gone.type", "12.0000"),
        ("EBS:VolumeUsage.gp3", f"{30 * 12 / (31 * 24):.4f}"),
    ]


@pytest.mark.parametrize("after", [1, 2, 10, 100_000])
def test_nothing_is_billed_of_a_time_to_come(
    command: Command, database: Database, clock: list[datetime], after: int
) -> None:
    """Not even of an instance that has just begun, whose minute ends after now."""
    del command
    box = Resource("i-new", ONE, "a")
    use = Use("BoxUsage:t3.micro", "RunInstances", least=60)
    database.run_blocking(lambda tx: ledger.begin(tx, box, [use], clock[0] - timedelta(seconds=10)))
    now = int(clock[0].timestamp())
    assert list(Operator(settings.load()).bill("", now + after, now + after + 1000)) == []


def test_prices_are_shown_changed_and_set_for_what_comes(
    command: Command, clock: list[datetime], tmp_path: Path
) -> None:
    clock[0] = datetime(2026, 11, 10, tzinfo=UTC)
    shown = command("price", "show").stdout
    assert 'currency = "USD"' in shown
    book = tmp_path / "prices.toml"
    book.write_text(shown.replace("USD", "EUR"), encoding="utf-8")
    done = command("price", "set", str(book), "--from", "2026-11-16")
    assert "count from 2026-11-16 00:00:00" in done.stderr
    assert [(each["valid from"], each["currency"]) for each in rows(command("price", "list", "--output", "json"))] == [
        ("the beginning", "USD"),
        ("2026-11-16 00:00:00", "EUR"),
    ]
    assert 'currency = "USD"' in shown
    clock[0] = datetime(2026, 12, 15, tzinfo=UTC)
    found = rows(command("bill", "--month", "2026-11", "--by", "account", "--output", "json"))
    assert [(row["account"], row["cost"], row["currency"]) for row in found] == [
        (ONE, "0.1800", "EUR"),
        (ONE, "0.0560", "USD"),
        (OTHER, "0.0280", "USD"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bill", "--month", "2026-13"), "no month such as"),
        (("bill", "--day", "2026-02-30"), "no day such as"),
        (("bill", "--month", "9999-12"), "no month such as"),
        (("bill", "--day", "9999-12-31"), "no day such as"),
        (("bill", "--month", "-001-01"), "no month such as"),
        (("bill", "--month", "1969-12"), "is no time: it must lie between"),
        (("bill", "--day", "0001-01-01", "--output", "focus"), "is no time: it must lie between"),
        (("bill", "--account", "nobody"), "nobody"),
        (("bill", "--by", "tag:"), "is none of account, day, resource, service, type, usage and tag:KEY"),
        (("bill", "--by", "colour"), "'colour' is none of"),
    ],
)
def test_bad_input_is_refused_in_words(command: Command, arguments: tuple[str, ...], words: str) -> None:
    refused = command(*arguments)
    assert refused.exit_code != 0
    assert words in refused.output


BEGIN, LATER = int(NOV.timestamp()), 1 << 62


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (-1, BEGIN, "-1 is no time"),
        (-LATER, BEGIN, f"{-LATER} is no time"),
        (BEGIN, LATER, f"{LATER} is no time"),
        (LATER, BEGIN, f"{LATER} is no time"),
        (BEGIN, BEGIN, "must end after it begins"),
        (BEGIN + 1, BEGIN, "must end after it begins"),
    ],
)
def test_times_that_none_has_are_refused_by_the_service(command: Command, begin: int, end: int, words: str) -> None:
    del command
    operator = Operator(settings.load())
    with pytest.raises(CliError, match=words):
        operator.bill("", begin, end)


@pytest.mark.parametrize("moment", [-1, LATER])
def test_a_book_for_a_time_that_none_has_is_refused(command: Command, moment: int) -> None:
    with pytest.raises(CliError, match=f"^{moment} is no time"):
        Operator(settings.load()).add_price_book('currency = "EUR"', moment)
    assert len(rows(command("price", "list", "--output", "json"))) == 1


def test_a_book_with_an_error_or_for_the_past_is_refused_whole(command: Command, tmp_path: Path) -> None:
    book = tmp_path / "prices.toml"
    book.write_text('currency = "EUR"\n[[price]]\nusage = "Boxes"\nprice = "1"\n', encoding="utf-8")
    assert "begins with none of" in command("price", "set", str(book)).output
    book.write_text('currency = "EUR"', encoding="utf-8")
    assert "has passed" in command("price", "set", str(book), "--from", "2026-01-01").output
    assert len(rows(command("price", "list", "--output", "json"))) == 1


def test_other_prices_may_be_compared_with(command: Command, tmp_path: Path) -> None:
    book = tmp_path / "aws.toml"
    book.write_text('currency = "EUR"\n[[price]]\nusage = "BoxUsage:gone.type"\nprice = "2"', encoding="utf-8")
    shown = command("bill", "--month", "2026-11", "--prices", str(book), "--by", "account", "--output", "json")
    assert [(row["account"], row["cost"], row["currency"]) for row in rows(shown)] == [
        (ONE, "48.0000", "EUR"),
        (OTHER, "0.0000", "EUR"),
    ]
    assert "no price: BoxUsage:t3.micro" in command("bill", "--month", "2026-11", "--prices", str(book)).stderr
    book.write_text("currency = 5", encoding="utf-8")
    assert "no code of ISO 4217" in command("bill", "--month", "2026-11", "--prices", str(book)).stderr
    book.write_bytes(b"\xff")
    assert "cannot be read" in command("bill", "--month", "2026-11", "--prices", str(book)).stderr
    assert 'currency = "USD"' in command("price", "show").stdout


def by_focus(command: Command, *arguments: str) -> list[dict[str, str]]:
    result = command("bill", "--output", "focus", *arguments)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_a_month_by_focus_adds_up_to_the_bill(command: Command, tmp_path: Path) -> None:
    for prices in ((), ("--prices", str(tmp_path / "prices.toml"))):
        (tmp_path / "prices.toml").write_text(
            'currency = "EUR"\n[[price]]\nusage = "EBS:VolumeUsage*"\nprice = "0.0777"', encoding="utf-8"
        )
        asked = ("--month", "2026-11", *prices)
        sums: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
        for row in by_focus(command, *asked):
            key = row["BillingAccountId"], row["x_UsageType"]
            product = Decimal(row["PricingQuantity"]) * Decimal(row["ListUnitPrice"])
            assert abs(product - Decimal(row["ListCost"])) < Decimal("1e-24")
            quantity, cost = sums.get(key, (Decimal(0), Decimal(0)))
            sums[key] = (quantity + Decimal(row["PricingQuantity"]), cost + Decimal(row["BilledCost"]))
        assert {key: (f"{quantity:.4f}", f"{cost:.4f}") for key, (quantity, cost) in sums.items()} == {
            (row["account"], row["usage"]): (row["quantity"], row["cost"])
            for row in rows(command("bill", *asked, "--output", "json"))
        }
    assert by_focus(command, "--day", "2026-11-12") == []
    four_tags = [word for key in "abcd" for word in ("--tag", key)]
    assert len(by_focus(command, "--day", "2026-11-01", *four_tags)) == 2


def test_a_month_by_day_and_by_type(command: Command) -> None:
    found = rows(command("bill", "--month", "2026-11", "--by", "day", "--output", "json"))
    assert [(row["account"], row["day"]) for row in found] == [
        (ONE, "2026-11-01"),
        *((ONE, f"2026-11-{day}") for day in range(16, 31)),
        (OTHER, "2026-11-01"),
    ]
    assert (found[0]["cost"], found[1]["cost"]) == ("0.0560", f"{30 * 0.012 / 30:.4f}")
    found = rows(command("bill", "--month", "2026-11", "--by", "type", "--output", "json"))
    assert [(row["account"], row["type"], row["cost"]) for row in found] == [
        (ONE, "gone.type", "0.0000"),
        (ONE, "none", "0.1800"),
        (ONE, "t3.micro", "0.0560"),
        (OTHER, "t3.micro", "0.0280"),
    ]
    shown = command("bill", "--month", "2026-11", "--by", "day").stdout.splitlines()
    assert (shown[0], len(shown)) == ("ACCOUNT\tDAY\tCOST\tCURRENCY", 18)


def test_bars_are_as_long_as_costs_of_one_currency() -> None:
    costs = [("1.0000", "EUR"), ("0.5000", "EUR"), ("0.0000", "EUR"), ("7.0000", "USD"), ("0.0000", "CHF")]
    found = bars([{"cost": cost, "currency": currency} for cost, currency in costs])
    assert [len(bar) for bar in found] == [30, 15, 0, 30, 0]


def test_days_have_bars_on_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("stead_cli.bill.show_rows", lambda rows, columns, *_, **__: shown.append((rows, columns)))
    monkeypatch.setattr("stead_cli.bill.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    command("bill", "--month", "2026-11", "--by", "day")
    command("bill", "--month", "2026-11", "--by", "type")
    (days, with_bars), (_, without) = shown
    assert (with_bars[-1], days[0]["chart"], "chart" in without) == ("chart", "\u2588" * 30, False)


def test_a_page_of_invoices(command: Command, database: Database) -> None:
    database.run_blocking(lambda tx: tx.session.add(Account(id=OTHER, name="<b>bob</b>", created=NOV)))
    shown = command("bill", "--month", "2026-11", "--output", "html", "--issuer", "A & B").stdout
    one, other = shown.split("<section>")[1:]
    assert "<h1>A &amp; B</h1>" in one
    assert f"Account {ONE}" in one
    assert "From 2026-11-01 until 2026-12-01 (not included), in UTC" in one
    assert (
        '<tr><td>Amazon Elastic Compute Cloud</td><td>EBS:VolumeUsage.gp3</td><td class="number">15.0000</td>'
        '<td>GB-Mo</td><td class="number">0.012 USD</td><td class="number">0.1800 USD</td></tr>'
    ) in one
    assert '<td>Hrs</td><td class="number">none</td><td class="number">0.0000 USD</td>' in one
    assert '<tr><td colspan="5">Total</td><td class="number">0.24 USD</td></tr>' in one
    assert f"Account {OTHER} &lt;b&gt;bob&lt;/b&gt;<br>" in other
    assert '<td class="number">0.03 USD</td>' in other
    assert "script" not in shown
    assert "Nothing was used" not in shown
    nothing = command("bill", "--month", "2025-01", "--output", "html").stdout
    assert ("<section>" in nothing, "<p>Nothing was used in this time.</p>" in nothing) == (False, True)


def test_a_row_by_focus(command: Command, database: Database) -> None:
    def tag(tx: Any) -> None:
        began, ended = (int(NOV.replace(hour=hour).timestamp()) for hour in (4, 5))
        tx.session.add(
            UsageTag(account_id=ONE, key="team", resource_id=f"i-{ONE}", began=began, ended=ended, value="ä")
        )
        tx.session.add(Account(id=ONE, name="alice", created=NOV))

    database.run_blocking(tag)
    asked = ("--day", "2026-11-01", "--tag", "team", "--tag", "env", "--issuer", "Home Ltd.")
    without, tagged, other = by_focus(command, *asked)
    assert (without["PricingQuantity"], without["Tags"], other["SubAccountId"]) == ("9", "", OTHER)
    sku = skus.sku_of("us-east-1", "BoxUsage:t3.micro", "RunInstances")
    assert tagged == {
        "AvailabilityZone": "a",
        "BilledCost": "0.0056",
        "BillingAccountId": ONE,
        "BillingAccountName": "alice",
        "BillingCurrency": "USD",
        "BillingPeriodEnd": "2026-12-01T00:00:00Z",
        "BillingPeriodStart": "2026-11-01T00:00:00Z",
        "CapacityReservationId": "",
        "CapacityReservationStatus": "",
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": "BoxUsage:t3.micro: 1 Hours at 0.0056 USD",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": "2026-11-02T00:00:00Z",
        "ChargePeriodStart": "2026-11-01T00:00:00Z",
        "ConsumedQuantity": "1",
        "ConsumedUnit": "Hours",
        "ContractedCost": "0.0056",
        "ContractedUnitPrice": "0.0056",
        "EffectiveCost": "0.0056",
        "HostProviderName": "Home Ltd.",
        "InvoiceIssuerName": "Home Ltd.",
        "ListCost": "0.0056",
        "ListUnitPrice": "0.0056",
        "PricingCategory": "Standard",
        "PricingQuantity": "1",
        "PricingUnit": "Hours",
        "RegionId": "us-east-1",
        "RegionName": "us-east-1",
        "ResourceId": f"i-{ONE}",
        "ResourceName": "",
        "ResourceType": "Instance",
        "ServiceCategory": "Compute",
        "ServiceName": "Amazon Elastic Compute Cloud",
        "ServiceProviderName": "Home Ltd.",
        "ServiceSubcategory": "Virtual Machines",
        "SkuId": sku,
        "SkuMeter": "Instance Hours",
        "SkuPriceDetails": '{"InstanceType": "t3.micro"}',
        "SkuPriceId": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
        "SubAccountId": ONE,
        "SubAccountName": "alice",
        "Tags": '{"team": "ä"}',
        "x_Operation": "RunInstances",
        "x_UsageType": "BoxUsage:t3.micro",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--output", "focus", "--by", "account"), "'--by': --output focus has a line for each resource"),
        (("--tag", "a"), "'--tag': it is for --output focus; else --by tag:KEY."),
        (("--issuer", "x", "--output", "csv"), "'--issuer': it is for --output focus and html."),
        (("--output", "html", "--by", "day"), "'--by': --output html has a line for each use."),
        (("--output", "html", "--tag", "a"), "'--tag': it is for --output focus"),
        (("--output", "focus", *("--tag", "a") * 2), "4 tag keys at most, each once"),
        (("--output", "focus", *(word for key in "abcde" for word in ("--tag", key))), "4 tag keys at most, each once"),
    ],
    ids=["by", "tag", "issuer", "by-html", "tag-html", "twice", "five"],
)
def test_options_without_effect_and_too_many_tags_are_refused(
    command: Command, options: tuple[str, ...], words: str
) -> None:
    found = command("bill", "--month", "2026-11", *options)
    assert found.exit_code != 0
    assert (found.stdout, words in " ".join(found.stderr.split())) == ("", True), found.stderr


def test_awss_prices_may_be_set(command: Command, clock: list[datetime], tmp_path: Path) -> None:
    clock[0] = datetime(2026, 11, 10, tzinfo=UTC)
    offers, book = tmp_path / "offers", tmp_path / "aws.toml"
    micro = Product("A")
    offers.write_text(as_json(micro, micro.but(sku="B", instance_type="no.type")), encoding="utf-8")
    book.write_text(command("price", "import", str(offers), "--region", "eu-central-1").stdout, encoding="utf-8")
    assert "these prices count from" in command("price", "set", str(book)).stderr
    shown = command("price", "list", "--output", "json")
    assert [row["currency"] for row in rows(shown)] == ["USD", "USD"]
    assert "no.type" not in shown.stdout
