"""AWS's price list files become a price book, or are refused whole."""

import tomllib
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stead_cli import json_members, offer_files, price_import
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_cli.offer_files import Origin, Rate, Sold
from stead_cli.operator import Operator
from stead_controller.metering import price_book, uses
from tests.unit.cli.aws_prices import Product, as_csv, as_json

MICRO = Product("A")
GP3 = Product(
    "B", "0.0952000000", "GB-Mo", usagetype="EUC1-EBS:VolumeUsage.gp3", operation="", instance_type="", system=""
)


USES = uses.NAMES | {"HostUsage:t3"} | {f"{kind}{name}" for kind in uses.OF_TYPES for name in ("t3.micro", "m1.small")}


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud with two instance types."""
    monkeypatch.setattr(Operator, "__init__", lambda *_: None)
    monkeypatch.setattr(Operator, "uses", lambda _: USES)


@pytest.fixture(params=[as_json, as_csv], ids=["json", "csv"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Write a file of either form, and import it."""

    def run(*products: Product, region: str = "eu-central-1", **more: str) -> Result:
        path = tmp_path / "offers"
        path.write_text(request.param(*products, **more), encoding="utf-8")
        return CliRunner().invoke(cli, ["price", "import", str(path), "--region", region])

    return run


def prices(found: Result) -> dict[str, str]:
    assert found.exit_code == 0, found.output
    price_book.parse(found.stdout)
    return {one["usage"]: one["price"] for one in tomllib.loads(found.stdout)["price"]}


def test_requests_are_priced_one_by_one(write: Any) -> None:
    request = GP3.but(usagetype="EUC1-Requests-Tier1", unit="Requests", price="0.0000054000")
    other = GP3.but(sku="C", usagetype="EUC1-Requests-SIA-Tier1", unit="Requests", price="0.00001")
    assert prices(write(request, other, service="AmazonS3")) == {"Requests-Tier1": "0.0000054"}
    assert "it should be for Requests" in write(request.but(unit="GB-Mo"), service="AmazonS3").stderr


def test_what_stead_meters_gets_awss_price(write: Any) -> None:
    found = write(
        MICRO,
        GP3,
        MICRO.but(sku="C", usagetype="EUC1-DedicatedUsage:t3.micro", price="0.0127"),
        MICRO.but(sku="D", usagetype="EUC1-HostBoxUsage:t3.micro", price="0.0000000000"),
        GP3.but(sku="E", usagetype="EUC1-EBS:VolumeP-Throughput.gp3", unit="GiBps-mo", price="48.7424"),
        GP3.but(sku="F", usagetype="EUC1-EBS:VolumeP-IOPS.gp3", unit="IOPS-Mo", price="0.006"),
        GP3.but(sku="G", usagetype="EUC1-EBS:SnapshotUsage", price="0.054", unit="GB-month"),
        GP3.but(sku="H", usagetype="EUC1-NatGateway-Hours", unit="Hours", price="0.052"),
        MICRO.but(sku="J", usagetype="EUC1-UnusedBox:t3.micro", capacity="UnusedCapacityReservation"),
        GP3.but(sku="K", usagetype="EUC1-HostUsage:t3", unit="Hrs", price="0.3"),
        MICRO.but(sku="I", usagetype="EUC1-BoxUsage", instance_type="m1.small", price="0.047"),
    )
    assert found.stdout.startswith("# AWS's On-Demand prices of eu-central-1, for Linux")
    assert "AmazonEC2 20261101000000" in found.stdout
    assert tomllib.loads(found.stdout)["currency"] == "USD"
    assert prices(found) == {
        "BoxUsage:m1.small": "0.047",
        "BoxUsage:t3.micro": "0.012",
        "DedicatedUsage:t3.micro": "0.0127",
        "EBS:SnapshotUsage": "0.054",
        "EBS:VolumeP-IOPS.gp3": "0.006",
        "EBS:VolumeP-Throughput.gp3": "0.0476",
        "EBS:VolumeUsage.gp3": "0.0952",
        "HostBoxUsage:t3.micro": "0",
        "HostUsage:t3": "0.3",
        "NatGateway-Hours": "0.052",
        "UnusedBox:t3.micro": "0.012",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Windows"},
        {"software": "SQL Web"},
        {"capacity": "UnusedCapacityReservation"},
        {"operation": "RunInstances:0002"},
        {"market": "CapacityBlock"},
        {"place": "AWS Local Zone"},
        {"region": "eu-west-1"},
        {"usagetype": "EUC1-UnusedBox:t3.micro"},
        {"usagetype": "EUC1-EBS:VolumeUsage.gp9"},
        {"usagetype": "EUC1-SpotUsage:t3.micro"},
        {"instance_type": "m9.huge"},
        {"usagetype": "EUC1-XXX-EBS:VolumeUsage.gp3"},
    ],
    ids=lambda change: next(iter(change.values())).replace(" ", "_"),
)
def test_other_products_do_not_count(write: Any, change: dict[str, str]) -> None:
    assert prices(write(MICRO.but(sku="Z", price="5", **change), MICRO, GP3)) == {
        "BoxUsage:t3.micro": "0.012",
        "EBS:VolumeUsage.gp3": "0.0952",
    }


def test_one_price_may_come_twice_and_usage_types_of_us_east_1_have_no_prefix(write: Any) -> None:
    one = MICRO.but(usagetype="BoxUsage:t3.micro", region="us-east-1")
    assert prices(write(one, one.but(sku="B", market=""), region="us-east-1")) == {"BoxUsage:t3.micro": "0.012"}
    least = f"0.{'0' * 23}1"
    assert prices(write(one.but(price=least), region="us-east-1")) == {"BoxUsage:t3.micro": least}


def test_tiers_are_taken_over(write: Any) -> None:
    throughput = GP3.but(usagetype="EUC1-EBS:VolumeP-Throughput.gp3", unit="GiBps-mo", price="2048")
    found = write(
        MICRO,
        GP3.but(begin="50000", price="0.02"),
        GP3.but(sku="C", end="50000", price="0.03"),
        throughput.but(sku="D", begin="0.5", price="1024"),
        throughput.but(sku="E", end="0.5"),
    )
    assert found.exit_code == 0, found.output
    book = price_book.parse(found.stdout)
    tiers = {usage: [(one.begin, one.end, one.price) for one in all_of] for usage, all_of in book.prices.items()}
    assert tiers == {
        "BoxUsage:t3.micro": [(0, None, Decimal("0.012"))],
        "EBS:VolumeUsage.gp3": [(0, 50000, Decimal("0.03")), (50000, None, Decimal("0.02"))],
        "EBS:VolumeP-Throughput.gp3": [(0, 512, 2), (512, None, 1)],
    }


@pytest.mark.parametrize(
    ("products", "words"),
    [
        ([MICRO, MICRO.but(sku="B", price="0.013")], "BoxUsage:t3.micro has two prices: 0.012"),
        ([MICRO.but(begin="1")], "the tiers of BoxUsage:t3.micro have a gap or an overlap at 1"),
        ([MICRO.but(end="100")], "the tiers of BoxUsage:t3.micro end at 100"),
        ([MICRO.but(end="100"), MICRO.but(sku="B", begin="101")], "a gap or an overlap at 101"),
        ([MICRO.but(end="100"), MICRO.but(sku="B", begin="99")], "a gap or an overlap at 99"),
        ([MICRO, MICRO.but(sku="B", begin="99")], "a gap or an overlap at 99"),
        ([MICRO.but(end="0"), MICRO.but(sku="B", begin="0")], "a gap or an overlap at 0"),
        ([MICRO.but(end="5"), MICRO.but(sku="B", end="5", price="7")], "has two prices: 0.012"),
        ([MICRO.but(end="many")], "the end of a tier of BoxUsage:t3.micro is 'many'"),
        ([MICRO.but(begin="-1")], "the begin of a tier of BoxUsage:t3.micro is '-1'"),
        ([MICRO.but(price="-1")], "no plain number of 0 or more"),
        ([MICRO.but(price="NaN")], "no plain number of 0 or more"),
        ([MICRO.but(price="cheap")], "no plain number of 0 or more"),
        ([MICRO.but(unit="Quantity")], "is for 'Quantity'; it should be for Hrs"),
        ([GP3.but(unit="Hrs")], "is for 'Hrs'; it should be for GB-Mo"),
        ([MICRO.but(currency="dollar")], "no currency"),
        ([MICRO, GP3.but(currency="CNY")], "prices in CNY and USD"),
        ([MICRO.but(instance_type="")], "no price of what Stead meters in eu-central-1"),
        ([MICRO.but(price="1000000000")], "no plain number"),
        ([MICRO.but(price="1e999999")], "no plain number"),
        ([MICRO.but(price="1e-999999")], "no plain number"),
        ([MICRO.but(price="0." + "0" * 30 + "1")], "no plain number"),
        ([MICRO.but(usagetype="Other")], "no price of what Stead meters in eu-central-1"),
    ],
)
def test_what_is_not_clear_refuses_all(write: Any, products: list[Product], words: str) -> None:
    found = write(*products)
    assert (found.exit_code, found.stdout) == (1, "")
    assert words in found.stderr


def test_another_region_or_service_is_refused(write: Any) -> None:
    found = write(MICRO, MICRO.but(sku="B", region=""), region="eu-north-1")
    assert "no prices of the region eu-north-1" in found.stderr
    assert "which they have: eu-central-1\n" in found.stderr
    assert "the file is of AmazonRDS; of interest are AmazonEC2, AmazonVPC" in write(MICRO, service="AmazonRDS").stderr
    assert "the file is of no service" in write(MICRO, service="").stderr


def of_regions(*regions: str) -> list[str]:
    return [part for region in regions for part in ("--region", region)]


def test_prices_of_several_regions_name_theirs(tmp_path: Path) -> None:
    path = tmp_path / "offers"
    there = MICRO.but(sku="U", usagetype="BoxUsage:t3.micro", region="us-east-1", price="0.0104")
    gp2 = GP3.but(sku="V", usagetype="EUN1-EBS:VolumeUsage.gp2", region="eu-north-1")
    path.write_text(as_csv(MICRO, GP3, there, gp2), encoding="utf-8")
    run = ["price", "import", str(path)]
    found = CliRunner().invoke(cli, [*run, *of_regions("us-east-1", "eu-central-1", "us-east-1")])
    assert (found.exit_code, found.stderr) == (0, "")
    assert "prices of us-east-1 and eu-central-1," in found.stdout
    book = price_book.parse(found.stdout)
    assert book.prices == {}
    shown = {
        region: {usage: f"{tiers[0].price:f}" for usage, tiers in prices.items()}
        for region, prices in book.regional.items()
    }
    assert shown == {
        "eu-central-1": {"BoxUsage:t3.micro": "0.012", "EBS:VolumeUsage.gp3": "0.0952"},
        "us-east-1": {"BoxUsage:t3.micro": "0.0104"},
    }
    found = CliRunner().invoke(cli, [*run, *of_regions("us-east-1", "eu-west-9")])
    assert (found.exit_code, found.stdout) == (1, "")
    assert "no prices of the region eu-west-9" in found.stderr


def test_a_region_in_which_nothing_is_metered_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "offers"
    other = MICRO.but(sku="U", usagetype="BoxUsage:x9.huge", instance_type="x9.huge", region="us-east-1")
    path.write_text(as_csv(MICRO, other), encoding="utf-8")
    found = CliRunner().invoke(cli, ["price", "import", str(path), *of_regions("eu-central-1", "us-east-1")])
    assert (found.exit_code, found.stdout) == (1, "")
    assert "no price of what Stead meters in us-east-1" in found.stderr


def imported(path: Path, *others: Path) -> Result:
    return CliRunner().invoke(cli, ["price", "import", str(path), *map(str, others), "--region", "eu-central-1"])


def test_addresses_are_in_another_file(tmp_path: Path) -> None:
    one, other = tmp_path / "ec2", tmp_path / "vpc"
    one.write_text("\ufeff" + as_json(MICRO), encoding="utf-8")
    address = GP3.but(usagetype="EUC1-PublicIPv4:InUseAddress", unit="Hrs", price="0.005")
    other.write_text(as_csv(address, service="AmazonVPC"), encoding="utf-8")
    assert prices(imported(one, other)) == {"BoxUsage:t3.micro": "0.012", "PublicIPv4:InUseAddress": "0.005"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the sixth line has no column SKU"),
        ("hello\n" * 9, "the sixth line has no column SKU"),
        ("{}", "it has no products or no terms"),
        ('{"products": {}}', "it has no products or no terms"),
        ('{"terms": {}, "products": {}}', "the terms come before the products"),
        ('{"products": []}', "{ is expected at character 14"),
        ('{"products": {"A": {}}}', "the product A has no attributes"),
        (as_json(MICRO)[:-20], "this is no JSON"),
        (as_json(MICRO)[:-2], "ends too early"),
        (as_json(MICRO) + "x", "the end is expected"),
        (as_json(MICRO).replace('"beginRange"', '"begin"'), "the terms of BoxUsage:t3.micro have another form"),
        (as_csv(MICRO)[:-9], "unexpected end of data"),
        (as_csv(MICRO) + '"a"\n', "row 9 has 1 values, and there are 16 columns"),
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "offers"
    path.write_text(text, encoding="utf-8")
    found = imported(path)
    assert (found.exit_code, found.stdout) == (1, "")
    assert f"{path} is no price list file of AWS: " in found.stderr
    assert words in found.stderr


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "offers"
    path.write_bytes(b"\x1f\x8b\x08" + b"\xff" * 100)
    assert "it is no UTF-8" in imported(path).stderr
    path.write_text('{"products": {"A": ' + "[" * 200000, encoding="utf-8")
    assert "nested too deeply" in imported(path).stderr


@pytest.mark.parametrize("form", [as_json, as_csv])
def test_a_large_file_needs_no_more_memory_than_a_small_one(
    tmp_path: Path, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_members, "_CHUNK", 1 << 14)
    path = tmp_path / "offers"
    others = [MICRO.but(sku=f"S{number}", region="us-east-1") for number in range(4000)]
    path.write_text(form(*others, MICRO), encoding="utf-8")
    tracemalloc.start()
    try:
        assert prices(imported(path)) == {"BoxUsage:t3.micro": "0.012"}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2


def test_a_file_is_told_of_by_its_own_words_only_if_they_are_plain(tmp_path: Path) -> None:
    path = tmp_path / "offers"
    path.write_text('{"products": {}, "terms": {}}', encoding="utf-8")
    assert offer_files.read(path, lambda _: None) == (Origin("", ""), [])
    rates = [Rate(Sold("NatGateway-Hours", "x"), "Hrs", "1", "USD", "0", "Inf")]
    found = price_import.price_book(["x"], [(Origin("AmazonEC2", "1\nprice = 5"), rates)])
    assert "from AmazonEC2.\n" in found
    with pytest.raises(CliError, match="cannot be read: No such file"):
        offer_files.read(tmp_path / "none", lambda _: None)


def test_awss_kinds_of_instances_are_all_but_spot() -> None:
    assert {f"{kind}:" for kind in price_import.BOXES} | {"SpotUsage:"} == set(uses.OF_TYPES)
