"""Rows of a FOCUS dataset: each use has its meter, its unit and its month."""

from typing import Any

import pytest

from stead_cli import focus
from stead_controller.metering import bills, skus, uses
from stead_proto.v1 import operator_pb2 as pb

# "Mandatory" in the table of columns of the Cost and Usage dataset, and of these, those that may be NULL.
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit",
    "ServiceCategory", "ServiceName", "ServiceProviderName",
}  # fmt: skip
NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}
DAY = 86400
FEB_28 = 1772236800  # 2026-02-28


def row(usage: str, **more: Any) -> dict[str, str]:
    line = pb.BillLine(
        account_id="1", service=bills.SERVICES[skus.service_of(usage)], usage=usage, unit=uses.unit_of(usage),
        quantity="2", price="3", cost="6", currency="EUR", begin=FEB_28, end=FEB_28 + DAY,
    )  # fmt: skip
    line.MergeFrom(pb.BillLine(**more))
    [found] = focus.rows([line], "home-1", "me")
    assert tuple(found) == focus.COLUMNS
    return found


@pytest.mark.parametrize(
    "usage",
    sorted(uses.NAMES | {f"{kind}t3.micro" for kind in uses.OF_TYPES} | {f"{kind}t3" for kind in uses.OF_FAMILIES}),
)
def test_all_that_is_metered_has_a_meter_and_a_unit_of_focus(usage: str) -> None:
    found = row(usage)
    assert all(found[name] for name in ("ResourceType", "SkuMeter", "PricingUnit", "ServiceCategory"))
    assert found["PricingUnit"] == found["ConsumedUnit"]
    assert (found["ListUnitPrice"], found["Tags"]) == ("3", "")
    assert found["PricingCategory"] == ("Dynamic" if usage.startswith("Spot") else "Standard")
    assert bool(found["SkuPriceDetails"]) == usage.startswith(uses.OF_TYPES)


@pytest.mark.parametrize(
    ("usage", "meter", "unit"),
    [
        ("SpotUsage:t3.micro", ("Instance", "Spot Instance Hours"), "Hours"),
        ("EBS:VolumeUsage", ("Volume", "Volume Storage"), "GiB-Months"),
        ("EBS:VolumeP-IOPS.gp3", ("Volume", "Volume IOPS"), "IOPS-Months"),
        ("EBS:VolumeP-Throughput.gp3", ("Volume", "Volume Throughput"), "MiB-Months/Second"),
        ("EBS:SnapshotUsage", ("Snapshot", "Snapshot Storage"), "GiB-Months"),
        ("EBS:SnapshotArchiveStorage", ("Snapshot", "Archived Snapshot Storage"), "GiB-Months"),
        ("EBS:SnapshotArchiveRetrieval", ("Snapshot", "Archived Snapshot Retrieval"), "GiB"),
        ("EBS:SnapshotArchiveEarlyDelete", ("Snapshot", "Early Deletion of Archived Snapshots"), "GiB-Months"),
        ("NatGateway-Hours", ("NAT Gateway", "NAT Gateway Hours"), "Hours"),
        ("PublicIPv4:IdleAddress", ("Public IPv4 Address", "Public IPv4 Address Hours"), "Hours"),
    ],
)
def test_meters_and_units(usage: str, meter: tuple[str, str], unit: str) -> None:
    found = row(usage)
    assert ((found["ResourceType"], found["SkuMeter"]), found["PricingUnit"]) == (meter, unit)


@pytest.mark.parametrize(
    "usage", ["BoxUsage:t3.micro", "TimedStorage-ByteHrs", "CW:Requests", "DataTransfer-Out-Bytes"]
)
def test_all_mandatory_columns_are_there_in_order(usage: str) -> None:
    found = row(usage)
    assert set(found) >= MANDATORY
    assert [name for name in MANDATORY - NULLABLE if not found[name]] == []
    assert list(found) == sorted(found, key=lambda name: (name.startswith("x_"), name))


def test_only_an_unused_reservation_is_told_of() -> None:
    columns = ("CapacityReservationId", "CapacityReservationStatus", "ResourceId")
    unused = row("UnusedBox:t3.micro", resource_id="cr-1")
    assert [unused[name] for name in columns] == ["cr-1", "Unused", "cr-1"]
    used = row("BoxUsage:t3.micro", resource_id="i-1")
    assert [used[name] for name in columns] == ["", "", "i-1"]


def test_a_discount_shows_in_the_contracted_price_and_all_costs_but_the_list_cost() -> None:
    found = row("NatGateway-Hours", cost="4.5", list_cost="6", contracted_price="2.25")
    prices = {name: found[name] for name in ("ListUnitPrice", "ContractedUnitPrice", "ListCost")}
    assert prices == {"ListUnitPrice": "3", "ContractedUnitPrice": "2.25", "ListCost": "6"}
    assert {found[name] for name in ("BilledCost", "ContractedCost", "EffectiveCost")} == {"4.5"}
    assert "at 2.25 EUR" in found["ChargeDescription"]
    plain = row("NatGateway-Hours")
    assert (plain["ContractedUnitPrice"], plain["ListCost"]) == ("3", "6")


def test_a_month_begins_and_ends_and_what_has_no_price_costs_nothing() -> None:
    found = row("NatGateway-Hours")
    assert (found["BillingPeriodStart"], found["BillingPeriodEnd"]) == ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
    assert (found["ChargePeriodStart"], found["ChargePeriodEnd"]) == ("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z")
    [late] = focus.rows([pb.BillLine(service="Amazon Virtual Private Cloud", usage="PublicIPv4:IdleAddress", unit="Hrs",
                                     begin=FEB_28 + DAY - 1, end=FEB_28 + DAY)], "home-1", "me")  # fmt: skip
    assert (late["BillingPeriodStart"], late["ListUnitPrice"]) == ("2026-02-01T00:00:00Z", "0")
    assert (late["ServiceCategory"], late["ServiceSubcategory"]) == ("Networking", "Network Infrastructure")
