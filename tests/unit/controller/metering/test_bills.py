"""What use costs: by its own price, or by the size of an instance type."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metering import bills, uses
from stead_controller.metering.bills import Size
from stead_controller.metering.ledger import Use
from stead_controller.metering.price_book import parse
from stead_controller.metering.usage_sums import Used

MONTH = 30 * 86400
BOOK = parse("""
currency = "EUR"
[instances]
vcpu = "0.01"
memory = "0.002"
spot = "0.5"
dedicated = "2"
[[price]]
usage = "BoxUsage:own.cheap"
price = "0"
[[price]]
usage = "EBS:VolumeUsage*"
price = "0.1"
""")
SIZES = {"t.two": Size(2, 4 << 30), "own.cheap": Size(2, 1 << 30)}


def line(usage, amount, operation="RunInstances", book=BOOK):
    tiers = bills.price_of(usage, book, SIZES.get)
    used = Used("1" * 12, usage, operation, "i-1")
    return bills.line(used, amount, bills.rate(None if tiers is None else tiers[0].price), MONTH)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        ("BoxUsage:t.two", "0.028"),
        ("SpotUsage:t.two", "0.014"),
        ("DedicatedUsage:t.two", "0.056"),
        ("BoxUsage:own.cheap", "0"),
        ("HostBoxUsage:t.two", None),
        ("BoxUsage:gone", None),
    ],
)
def test_an_instance_costs_its_price_or_that_of_its_size(usage, price):
    made = line(usage, 5400)
    assert (made.quantity, made.unit) == (Decimal("1.5"), "Hrs")
    assert made.rate.price == (None if price is None else Decimal(price))
    assert made.cost == Decimal("1.5") * Decimal(price or 0)
    assert made.service == "Amazon Elastic Compute Cloud"


def test_without_prices_of_sizes_it_has_none():
    assert line("BoxUsage:t.two", 1, book=parse('currency = "EUR"')).rate.price is None


@pytest.mark.parametrize(
    ("price", "percent", "contracted"),
    [
        ("0.028", "0", "0.028"),
        ("0.028", "25", "0.021"),
        ("0.028", "100", "0"),
        (f"999999999.{'1' * 24}", "99.9999", f"999.999999{'1' * 24}"),
        (None, "5", None),
    ],
)
def test_a_discount_is_exact(price, percent, contracted):
    found = bills.rate(None if price is None else Decimal(price), 2, Decimal(percent))
    assert found == bills.Rate(
        None if price is None else Decimal(price), 2, None if contracted is None else Decimal(contracted)
    )


def test_a_gib_for_the_whole_month_costs_its_price():
    made = line("EBS:VolumeUsage.gp3", 8 * MONTH, "CreateVolume-Gp3")
    assert (made.quantity, made.unit, made.cost) == (8, "GB-Mo", Decimal("0.8"))


@pytest.mark.parametrize(
    ("usage", "service"),
    [
        ("PublicIPv4:InUseAddress", "Amazon Virtual Private Cloud"),
        ("PublicIPv4:IdleAddress", "Amazon Virtual Private Cloud"),
        ("NatGateway-Hours", "Amazon Elastic Compute Cloud"),
        ("EBS:VolumeUsage.gp3", "Amazon Elastic Compute Cloud"),
    ],
)
def test_addresses_are_of_the_vpc_and_all_else_of_ec2(usage, service):
    assert line(usage, 3600, "any").service == service


def test_blocks_of_snapshots_are_billed_in_gib():
    made = line("EBS:SnapshotUsage", 3 * 1024 * MONTH, "CreateSnapshot")
    assert (made.quantity, made.unit, made.service) == (Decimal("1.5"), "GB-Mo", "Amazon Elastic Compute Cloud")


def test_archived_blocks_are_billed_in_gib_by_the_month_or_once():
    made = line("EBS:SnapshotArchiveStorage", 3 * 1024 * MONTH, "CreateSnapshot")
    assert (made.quantity, made.unit, made.service) == (Decimal("1.5"), "GB-Mo", "Amazon Elastic Compute Cloud")
    made = line("EBS:SnapshotArchiveRetrieval", 3 * 1024, "CreateSnapshot")
    assert (made.quantity, made.unit) == (Decimal("1.5"), "GB")
    made = line("EBS:SnapshotArchiveEarlyDelete", 3 * 1024 * MONTH // 3600, "CreateSnapshot")
    assert (made.quantity, made.unit) == (Decimal("1.5"), "GB-Mo")


def test_thousandths_of_credits_are_billed_in_hours_of_a_vcpu():
    made = line("CPUCredits:t3", 90_000, "T3CPUCredits")
    assert (made.quantity, made.unit, made.service) == (Decimal("1.5"), "vCPU-Hours", "Amazon Elastic Compute Cloud")


def test_metrics_are_billed_by_the_month_and_calls_by_their_number():
    made = line("CW:MetricMonitorUsage", 7 * MONTH, "MetricStorage:AWS/EC2")
    assert (made.quantity, made.unit, made.service) == (7, "Metrics", "AmazonCloudWatch")
    made = [line(usage, 5, "any") for usage in ("CW:Requests", "CW:GMD-Metrics", "EBS:directAPI.snapshot.Put")]
    assert [(one.quantity, one.unit) for one in made] == [(5, "Requests"), (5, "Metrics"), (5, "SnapshotAPIUnits")]


def test_alarms_are_billed_by_the_month():
    made = line("CW:AlarmMonitorUsage", 2 * MONTH, "Unknown")
    assert (made.quantity, made.unit, made.service) == (2, "Alarms", "AmazonCloudWatch")


def test_bytes_kept_for_hours_are_billed_in_gib_by_the_month():
    made = line("TimedStorage-ByteHrs", 3 * (1 << 29) * MONTH // 3600, "StandardStorage")
    assert (made.quantity, made.unit, made.service) == (Decimal("1.5"), "GB-Mo", "Amazon Simple Storage Service")


def test_requests_and_bytes_of_objects_are_of_s3():
    made = line("Requests-Tier1", 12, "PutObject")
    assert (made.quantity, made.unit, made.service) == (12, "Requests", "Amazon Simple Storage Service")
    assert line("DataTransfer-Out-Bytes", 1, "GetObject").service == "Amazon Simple Storage Service"


@pytest.mark.parametrize("usage", ["DataTransfer-Out-Bytes", "DataTransfer-Regional-Bytes", "NatGateway-Bytes"])
def test_bytes_are_billed_in_gib(usage):
    made = line(usage, 3 << 29, "any")
    assert (made.quantity, made.unit, made.service) == (Decimal("1.5"), "GB", "Amazon Elastic Compute Cloud")


VOLUMES = st.tuples(
    st.sampled_from(["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"]),
    st.integers(1, 99),
    st.none() | st.integers(1, 99999),
    st.none() | st.integers(1, 999),
)


@given(VOLUMES)
def test_what_volumes_use_can_have_a_price(volume):
    assert {use.usage for use in uses.of_volume(*volume)} <= uses.NAMES
    others = [*uses.of_nat_gateway(), *uses.of_snapshot(1), *uses.of_automatic_address()]
    others += [*uses.of_archived_snapshot(1), uses.of_retrieval(1), uses.of_leaving_early(1, 1)]
    others += [use for in_use in (True, False) for use in uses.of_elastic_address(in_use=in_use)]
    assert {use.usage for use in others} <= uses.NAMES


@pytest.mark.parametrize(
    ("kind", "size", "iops", "throughput", "used"),
    [
        ("gp3", 8, 3000, 125, [Use("EBS:VolumeUsage.gp3", "CreateVolume-Gp3", 8)]),
        (
            "gp3", 8, 3001, 126,
            [
                Use("EBS:VolumeUsage.gp3", "CreateVolume-Gp3", 8),
                Use("EBS:VolumeP-IOPS.gp3", "CreateVolume-Gp3", 1),
                Use("EBS:VolumeP-Throughput.gp3", "CreateVolume-Gp3", 1),
            ],
        ),
        ("gp2", 8, 100, None, [Use("EBS:VolumeUsage.gp2", "CreateVolume-Gp2", 8)]),
        (
            "io1", 8, 100, None,
            [Use("EBS:VolumeUsage.piops", "CreateVolume-Io1", 8), Use("EBS:VolumeP-IOPS.piops", "CreateVolume-Io1", 100)],
        ),
        ("standard", 8, None, None, [Use("EBS:VolumeUsage", "CreateVolume", 8)]),
    ],
)  # fmt: skip
def test_volumes_use_what_their_type_does_not_include(kind, size, iops, throughput, used):
    assert uses.of_volume(kind, size, iops, throughput) == used


@pytest.mark.parametrize(
    ("tenancy", "spot", "usage"),
    [
        ("default", False, "BoxUsage:t.two"),
        ("dedicated", False, "DedicatedUsage:t.two"),
        ("host", False, "HostBoxUsage:t.two"),
        ("default", True, "SpotUsage:t.two"),
    ],
)
def test_instances_use_seconds_of_their_type_one_minute_at_least(tenancy, spot, usage):
    assert uses.of_instance("t.two", tenancy, spot=spot) == [Use(usage, "RunInstances", least=60)]


@pytest.mark.parametrize(
    ("usage", "unit"),
    [
        ("EBS:VolumeUsage", "GB-Mo"),
        ("EBS:VolumeP-IOPS.gp3", "IOPS-Mo"),
        ("EBS:VolumeP-Throughput.gp3", "MiBps-Mo"),
        ("EBS:SnapshotUsage", "GB-Mo"),
        ("PublicIPv4:IdleAddress", "Hrs"),
        ("NatGateway-Hours", "Hrs"),
    ],
)
def test_each_use_has_a_unit(usage, unit):
    assert uses.unit_of(usage) == unit
