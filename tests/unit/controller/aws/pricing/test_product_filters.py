"""Which products fit GetProducts' filters."""

import pytest

from stead_controller.aws.pricing import product_filters, products
from stead_controller.aws.pricing.products import Place, Product
from stead_controller.catalog import instance_types
from stead_controller.errors import InvalidParameter
from stead_controller.metering import price_book

BOOK = price_book.parse(price_book.default_text())
TYPES = [instance_types.ALL[name] for name in ("t3.micro", "t3.small")]
PLACE = Place("us-east-1", "x")
ALL = products.everything(BOOK, TYPES, PLACE)


def chosen(*filters: tuple[str, str, str]) -> list[Product]:
    given = [{"Type": kind, "Field": name, "Value": value} for kind, name, value in filters]
    return product_filters.choose(ALL, given, products.field_names(TYPES, PLACE))


def usages(*filters: tuple[str, str, str]) -> set[str]:
    return {one.attributes["usagetype"] for one in chosen(*filters)}


NAT = {"NatGateway-Hours", "NatGateway-Bytes", "DataTransfer-Out-Bytes"}
T3_MICRO = {"BoxUsage:t3.micro", "UnusedBox:t3.micro"}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([("TERM_MATCH", "instanceType", "t3.micro"), ("TERM_MATCH", "tenancy", "Shared")], T3_MICRO),
        ([("TERM_MATCH", "INSTANCETYPE", "T3.Micro"), ("TERM_MATCH", "tenancy", "shared")], T3_MICRO),
        ([("TERM_MATCH", "instanceType", "t3")], {"HostUsage:t3"}),
        ([("TERM_MATCH", "instanceType", "t3.")], set()),
        ([("EQUALS", "usagetype", "NatGateway-Hours")], {"NatGateway-Hours"}),
        ([("EQUALS", "usagetype", "natgateway-hours")], set()),
        ([("CONTAINS", "usagetype", "P-Throughput")], {"EBS:VolumeP-Throughput.gp3"}),
        ([("CONTAINS", "usagetype", "p-throughput")], set()),
        ([("ANY_OF", "usagetype", "NatGateway-Hours, EBS:SnapshotUsage")], {"NatGateway-Hours", "EBS:SnapshotUsage"}),
        ([("CONTAINS", "volumeApiName", "p2")], {"EBS:VolumeUsage.gp2"}),
        ([("ANY_OF", "volumeApiName", "gp2")], {"EBS:VolumeUsage.gp2"}),
        (
            [("NONE_OF", "instanceType", "t3.micro"), ("CONTAINS", "usagetype", "BoxUsage")],
            {"BoxUsage:t3.small", "HostBoxUsage:t3.small"},
        ),
        ([("NONE_OF", "instanceType", "t3.micro,t3.small"), ("EQUALS", "unknown-no", "x")], None),
        ([("NONE_OF", "instanceType", "t3.micro,t3.small"), ("CONTAINS", "operation", "Nat")], NAT),
        (
            [("TERM_MATCH", "productFamily", "NAT Gateway"), ("TERM_MATCH", "termType", "OnDemand")],
            {"NatGateway-Hours", "NatGateway-Bytes"},
        ),
        ([("TERM_MATCH", "termType", "Reserved")], set()),
        ([("LIKE", "usagetype", "x")], None),
    ],
)  # fmt: skip
def test_filters(filters: list[tuple[str, str, str]], found: set[str] | None) -> None:
    if found is None:
        with pytest.raises(InvalidParameter):
            usages(*filters)
    else:
        assert usages(*filters) == found


def test_without_filters_all_fit() -> None:
    assert chosen() == list(ALL)
