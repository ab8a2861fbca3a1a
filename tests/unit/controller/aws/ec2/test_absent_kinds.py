"""Reading operations of EC2 that are not built are either truly empty or refused, and each is decided."""

import pytest

from stead_controller.aws import operations, unbuilt
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.ec2.absent_kinds import kind_of
from stead_controller.aws.ec2_rates import READING
from stead_controller.aws.protocol.models import load_service

operations.load()
EC2 = load_service("ec2")


def test_each_reading_operation_is_in_one_place() -> None:
    reading = {name for name in EC2.operation_names if name.startswith(READING)}
    known = {name for service, name in OPERATIONS if service == "ec2"}
    undecided = sorted(reading - known - set(unbuilt.REFUSED))
    assert not undecided, f"decide in aws/unbuilt.py whether an empty answer is true: {undecided}"
    assert not sorted(set(unbuilt.REFUSED) & known), "these are built: take them out of REFUSED"
    assert set(unbuilt.ABSENT) <= known
    assert set(unbuilt.REFUSED) <= reading
    assert len(set(unbuilt.ABSENT)) == len(unbuilt.ABSENT)


@pytest.mark.parametrize("name", unbuilt.ABSENT)
def test_the_model_says_what_is_empty(name: str) -> None:
    kind = kind_of(name)
    model = EC2.operation(name)
    required = set(model.input_shape.required_members) if model.input_shape else set()
    assert model.output_shape is not None
    lists = [key for key, member in model.output_shape.members.items() if member.type_name == "list" and key != "Tags"]
    if kind.member is None:
        assert required & kind.ids.keys(), "only what must name a resource has no list"
    else:
        assert [kind.member] == lists, "an answer with several lists is not simply empty"
    assert all(code.startswith("Invalid") for code in kind.ids.values())
    assert kind.least <= kind.most


@pytest.mark.parametrize(
    ("name", "key", "code"),
    [
        ("DescribeVpnGateways", "VpnGatewayIds", "InvalidVpnGatewayID.NotFound"),
        ("DescribeTransitGatewayRouteTables", "TransitGatewayRouteTableIds", "InvalidRouteTableID.NotFound"),
        ("DescribeIpamPools", "IpamPoolIds", "InvalidIpamPoolId.NotFound"),
        ("DescribeClientVpnRoutes", "ClientVpnEndpointId", "InvalidClientVpnEndpointId.NotFound"),
        ("DescribeHostReservations", "HostReservationIdSet", "InvalidHostReservationId.NotFound"),
        ("DescribeCoipPools", "PoolIds", "InvalidPoolID.NotFound"),
        ("ListVolumesInRecycleBin", "VolumeIds", "InvalidVolume.NotFound"),
        ("ListImagesInRecycleBin", "ImageIds", "InvalidAMIID.NotFound"),
        ("ListSnapshotsInRecycleBin", "SnapshotIds", "InvalidSnapshot.NotFound"),
    ],
)
def test_ids_have_ec2s_codes(name: str, key: str, code: str) -> None:
    assert kind_of(name).ids[key] == code


@pytest.mark.parametrize(
    ("name", "key"), [("DescribeAddressTransfers", "AllocationIds"), ("DescribeFastLaunchImages", "ImageIds")]
)
def test_ids_of_other_kinds_are_not_called_absent(name: str, key: str) -> None:
    assert key not in kind_of(name).ids


def test_filters_are_those_of_the_documentation() -> None:
    known = kind_of("DescribeVpnGateways").filters
    assert known is not None
    assert {"amazon-side-asn", "attachment.vpc-id", "state"} <= known
    assert kind_of("DescribeByoipCidrs").filters is None
