"""Skus are apart where what is sold is, and stay."""

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metering import skus

SOLD = st.tuples(
    st.sampled_from(["us-east-1", "home"]),
    st.sampled_from(["BoxUsage:t3.micro", "BoxUsage:t3", "PublicIPv4:InUseAddress"]),
    st.sampled_from(["RunInstances", "AllocateAddressVPC"]),
)


@given(SOLD, SOLD)
def test_a_sku_is_of_region_usage_and_operation(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (skus.sku_of(*one) == skus.sku_of(*other)) == (one == other)


def test_a_use_is_of_a_service_and_has_a_price_id() -> None:
    assert (skus.service_of("NatGateway-Hours"), skus.service_of("PublicIPv4:IdleAddress")) == (skus.EC2, skus.VPC)
    assert skus.sku_of("us-east-1", "BoxUsage:t3.micro", "RunInstances") == "QBBDS4NQJWA276HS"
    assert skus.service_of("Requests-Tier1", "PutObject") == skus.S3
    assert skus.service_of("TimedStorage-ByteHrs", "StandardStorage") == skus.S3
    assert {skus.service_of(name) for name in ("CW:Requests", "CW:AlarmMonitorUsage")} == {skus.CLOUDWATCH}
    out = "DataTransfer-Out-Bytes"
    assert [skus.service_of(out, name) for name in ("GetObject", "RunInstances")] == [skus.S3, skus.EC2]
    assert skus.sku_of("home", "Requests-Tier1", "PutObject") == skus.sku_of("home", "Requests-Tier1", "")
    assert skus.sku_of("home", out, "GetObject") != skus.sku_of("home", out, "RunInstances")
    assert skus.price_id_of("A") == "A.JRTCKXETXF.6YS6EN2CT7"
    assert len({skus.price_id_of("A", tier) for tier in range(9)}) == 9
    assert {len(skus.price_id_of("A", tier)) for tier in range(9)} == {len("A.JRTCKXETXF.6YS6EN2CT7")}
    assert skus.price_id_of("A", 1) == "A.JRTCKXETXF.CKTTJX72RF"
