"""What is exported says the same of each use as `stead bill --output focus`."""

from decimal import Decimal
from fractions import Fraction

import pytest

from stead_cli import focus
from stead_controller.metering import bills, skus, uses
from stead_controller.metering.bills import BillLine, Rate
from stead_controller.metering.priced_uses import PricedUse
from stead_controller.metering.usage_sums import Period, Used
from stead_controller.resources.data_exports import charges, tables
from stead_controller.resources.data_exports.charges import Charge
from stead_proto.v1 import operator_pb2 as pb

FEB_28 = 1772236800  # 2026-02-28
USAGES = sorted(
    uses.NAMES
    | {f"{kind}t3.micro" for kind in uses.OF_TYPES}
    | {kind if kind.endswith("Bytes") else f"{kind}t3" for kind in uses.OF_FAMILIES}
)


def charge(usage, **changes):
    used = Used("1" * 12, usage, "RunInstances", "i-1", "home-1a", ("web", None))
    service = bills.SERVICES[skus.service_of(usage)]
    rate = Rate(Decimal("0.3"), 1, Decimal("0.2"))
    line = BillLine(used, service, Fraction(2), uses.unit_of(usage), rate, Fraction("0.4"))
    priced = PricedUse(line, "EUR", 0, Period(FEB_28, FEB_28 + 86400))
    return Charge(priced, "alice", "home-1", ("team", "env"))


def row(table, usage):
    columns = tables.TABLES[table].columns
    return dict(zip(columns, charges.row(charge(usage), columns), strict=True))


@pytest.mark.parametrize("usage", USAGES)
def test_rows_are_those_of_the_operators_focus(usage):
    found, made = row("FOCUS_1_2_AWS", usage), charge(usage)
    [expected] = focus.rows(
        [
            pb.BillLine(
                account_id="1" * 12, account_name="alice", service=made.line.service, usage=usage, operation="RunInstances",
                resource_id="i-1", zone="home-1a", quantity="2", unit=made.line.unit, price="0.3", contracted_price="0.2",
                cost="0.4", list_cost="0.6", currency="EUR", begin=FEB_28, end=FEB_28 + 86400, tags={"team": "web"},
                sku=made.sku, sku_price=made.rate_code,
            )
        ],
        "home-1",
        "Stead",
    )  # fmt: skip
    for name in set(found) & set(expected) - {"SkuMeter", "BillingPeriodEnd", "BillingPeriodStart"}:
        written = found[name].replace(".000Z", "Z")
        assert written == expected[name], name
    assert found["ProviderName"] == expected["ServiceProviderName"]
    assert row("FOCUS_1_0_AWS", usage)["x_UsageType"] == usage


def test_a_row_of_a_cost_and_usage_report():
    found = row("COST_AND_USAGE_REPORT", "BoxUsage:t3.micro")
    assert {name: value for name, value in found.items() if name.startswith("line_item_")} == {
        "line_item_availability_zone": "home-1a",
        "line_item_blended_cost": "0.4",
        "line_item_blended_rate": "0.2",
        "line_item_currency_code": "EUR",
        "line_item_line_item_description": "BoxUsage:t3.micro: 2 Hours at 0.2 EUR",
        "line_item_line_item_type": "Usage",
        "line_item_normalization_factor": "0.5",
        "line_item_normalized_usage_amount": "1",
        "line_item_operation": "RunInstances",
        "line_item_product_code": "AmazonEC2",
        "line_item_resource_id": "i-1",
        "line_item_unblended_cost": "0.4",
        "line_item_unblended_rate": "0.2",
        "line_item_usage_account_id": "1" * 12,
        "line_item_usage_account_name": "alice",
        "line_item_usage_amount": "2",
        "line_item_usage_end_date": "2026-03-01T00:00:00.000Z",
        "line_item_usage_start_date": "2026-02-28T00:00:00.000Z",
        "line_item_usage_type": "BoxUsage:t3.micro",
    }
    assert (found["pricing_public_on_demand_cost"], found["pricing_public_on_demand_rate"]) == ("0.6", "0.3")
    assert (found["pricing_term"], row("COST_AND_USAGE_REPORT", "SpotUsage:t3.micro")["pricing_term"]) == (
        "OnDemand",
        "Spot",
    )
    assert found["identity_time_interval"] == "2026-02-28T00:00:00Z/2026-03-01T00:00:00Z"
    assert found["bill_billing_period_end_date"] == "2026-03-01T00:00:00.000Z"
    assert found["resource_tags"] == '{"team": "web"}'
    assert (found["product_instance_type"], found["pricing_unit"]) == ("t3.micro", "Hrs")


def test_only_unused_reservations_name_themselves():
    unused, box = (row("FOCUS_1_2_AWS", f"{kind}:t3.micro") for kind in ("UnusedBox", "BoxUsage"))
    assert (unused["CapacityReservationId"], unused["CapacityReservationStatus"]) == ("i-1", "Unused")
    assert (box["CapacityReservationId"], box["CapacityReservationStatus"]) == ("", "")


@pytest.mark.parametrize("table", tables.TABLES.values(), ids=lambda table: table.name)
def test_only_what_there_is_not_here_is_empty(table):
    empty = {name for name, value in row(table.name, "UnusedBox:t3.micro").items() if not value}
    assert all(
        name.startswith(("Commitment", "x_Disc", "x_Cost", "ChargeClass", "ResourceName", "InvoiceId"))
        for name in empty
    )
