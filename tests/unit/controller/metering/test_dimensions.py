"""What a use has of each of Cost Explorer's dimensions, and which of them there are."""

import pytest

from stead_controller.errors import Unsupported
from stead_controller.metering import dimensions, uses
from stead_controller.metering.usage_sums import Used

ACCOUNT = "1" * 12


@pytest.mark.parametrize(
    ("dimension", "usage", "value"),
    [
        ("SERVICE", "BoxUsage:t3.micro", "Amazon Elastic Compute Cloud - Compute"),
        ("SERVICE", "HostUsage:m5", "Amazon Elastic Compute Cloud - Compute"),
        ("SERVICE", "CW:AlarmMonitorUsage", "AmazonCloudWatch"),
        ("SERVICE", "Requests-Tier2", "Amazon Simple Storage Service"),
        ("SERVICE", "DataTransfer-Out-Bytes", "EC2 - Other"),
        ("SERVICE", "CPUCredits:t3", "EC2 - Other"),
        ("INSTANCE_TYPE", "HostUsage:m5", "NoInstanceType"),
        ("SERVICE", "EBS:SnapshotUsage", "EC2 - Other"),
        ("SERVICE", "NatGateway-Hours", "EC2 - Other"),
        ("SERVICE", "PublicIPv4:IdleAddress", "Amazon Virtual Private Cloud"),
        ("USAGE_TYPE", "EBS:SnapshotUsage", "EBS:SnapshotUsage"),
        ("OPERATION", "EBS:SnapshotUsage", "Op"),
        ("INSTANCE_TYPE", "SpotUsage:t3.micro", "t3.micro"),
        ("INSTANCE_TYPE", "EBS:SnapshotUsage", "NoInstanceType"),
        ("LINKED_ACCOUNT", "EBS:SnapshotUsage", ACCOUNT),
        ("RECORD_TYPE", "EBS:SnapshotUsage", "Usage"),
        ("REGION", "EBS:SnapshotUsage", "here"),
        ("AZ", "EBS:SnapshotUsage", "NoAZ"),
        ("RESOURCE_ID", "EBS:SnapshotUsage", "snap-1"),
    ],
)
def test_each_dimension_has_aws_words(dimension: str, usage: str, value: str) -> None:
    assert dimensions.value_of(Used(ACCOUNT, usage, "Op", "snap-1"), dimension, "here") == value


def test_bytes_of_objects_are_of_s3() -> None:
    used = Used(ACCOUNT, "DataTransfer-Out-Bytes", "GetObject", "bucket")
    assert dimensions.value_of(used, "SERVICE", "here") == "Amazon Simple Storage Service"


def test_a_use_in_a_zone_names_it() -> None:
    assert dimensions.value_of(Used(ACCOUNT, "NatGateway-Hours", "Op", zone="z"), "AZ", "here") == "z"


@pytest.mark.parametrize("kind", uses.OF_TYPES)
def test_all_kinds_of_instances_are_compute_and_have_a_type(kind: str) -> None:
    used = Used(ACCOUNT, f"{kind}m5.large", "RunInstances")
    assert dimensions.value_of(used, "INSTANCE_TYPE", "here") == "m5.large"
    assert dimensions.service_of(used.usage) == "Amazon Elastic Compute Cloud - Compute"


def test_a_dimension_that_uses_do_not_have_is_refused() -> None:
    assert [dimensions.require(one) for one in sorted(dimensions.KNOWN)] == sorted(dimensions.KNOWN)
    with pytest.raises(Unsupported, match="The dimension PLATFORM is not supported"):
        dimensions.require("PLATFORM")
