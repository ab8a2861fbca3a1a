"""NAT gateways through boto3: made, shown, deleted, and what is refused or fails."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from stead_controller.db.tables import (
    Host,
    HostResource,
    NatGateway,
    NetworkInterface,
    PublicAddress,
    UsageLine,
    UsageMeter,
)
from stead_controller.hosts import reports
from stead_controller.resources.operators import host_records
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb
from tests.api.conftest import Api
from tests.api.test_elastic_addresses import detach_gateway
from tests.api.test_network_interfaces import report, sent, shown
from tests.support import rows
from tests.support.rows import NOW


def create(api: Api, **changes: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"SubnetId": api.world.one.subnet_ids[0]}
    if changes.get("ConnectivityType") != "private" and "AllocationId" not in changes:
        params["AllocationId"] = api.ec2.allocate_address()["AllocationId"]
    made: dict[str, Any] = api.ec2.create_nat_gateway(**params | changes)["NatGateway"]
    return made


def gateway(api: Api, gateway_id: str) -> dict[str, Any]:
    (found,) = api.ec2.describe_nat_gateways(NatGatewayIds=[gateway_id])["NatGateways"]
    return dict(found)


def interface_of(made: dict[str, Any]) -> str:
    return str(made["NatGatewayAddresses"][0]["NetworkInterfaceId"])


def test_a_public_gateway_lives_and_ends(api: Api) -> None:
    made = create(api, TagSpecifications=[{"ResourceType": "natgateway", "Tags": [{"Key": "Name", "Value": "way"}]}])
    gateway_id, interface_id = made["NatGatewayId"], interface_of(made)
    assert (made["State"], made["ConnectivityType"]) == ("pending", "public")
    assert made["Tags"] == [{"Key": "Name", "Value": "way"}]
    interface = shown(api, interface_id)
    assert interface["InterfaceType"] == "nat_gateway"
    assert interface["Description"] == f"Interface for NAT Gateway {gateway_id}"
    assert (interface["RequesterManaged"], interface["SourceDestCheck"], interface["Groups"]) == (True, False, [])
    (address,) = made["NatGatewayAddresses"]
    assert interface["Association"]["PublicIp"] == address["PublicIp"]
    assert interface["PrivateIpAddress"] == address["PrivateIp"]
    resource, on_host = (
        sent(api, desired_pb2.KIND_NAT_GATEWAY, gateway_id),
        sent(api, desired_pb2.KIND_INTERFACE, interface_id),
    )
    assert resource is not None
    assert on_host is not None
    assert resource.nat_gateway.interface_id == interface_id
    assert on_host.interface.unfiltered
    assert [one.public_address for one in on_host.interface.public_addresses] == [address["PublicIp"]]

    report(api, desired_pb2.KIND_NAT_GATEWAY, gateway_id, pb.CONDITION_READY)
    assert gateway(api, gateway_id)["State"] == "available"
    assert metered(api, UsageMeter) == [(gateway_id, "NatGateway-Hours", 1)]
    api.refused("OperationNotPermitted", api.ec2.disassociate_address, AssociationId=address["AssociationId"])
    api.refused("InvalidIPAddress.InUse", api.ec2.release_address, AllocationId=address["AllocationId"])
    api.refused("InvalidParameterValue", api.ec2.delete_network_interface, NetworkInterfaceId=interface_id)
    api.refused(
        "OperationNotPermitted",
        api.ec2.modify_network_interface_attribute,
        NetworkInterfaceId=interface_id,
        SourceDestCheck={"Value": True},
    )
    api.refused(
        "OperationNotPermitted",
        api.ec2.detach_network_interface,
        AttachmentId=interface["Attachment"]["AttachmentId"],
    )

    assert api.ec2.delete_nat_gateway(NatGatewayId=gateway_id)["NatGatewayId"] == gateway_id
    assert gateway(api, gateway_id)["State"] == "deleting"
    assert (metered(api, UsageMeter), metered(api, UsageLine)) == ([], [(gateway_id, "NatGateway-Hours", 1)])
    assert sent(api, desired_pb2.KIND_NAT_GATEWAY, gateway_id) is None
    assert sent(api, desired_pb2.KIND_INTERFACE, interface_id) is None
    api.ec2.delete_nat_gateway(NatGatewayId=gateway_id)
    report(api, desired_pb2.KIND_NAT_GATEWAY, gateway_id, pb.CONDITION_ABSENT)
    ended = gateway(api, gateway_id)
    assert (ended["State"], "DeleteTime" in ended) == ("deleted", True)
    assert api.ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    (left,) = api.ec2.describe_addresses()["Addresses"]
    assert "AssociationId" not in left
    api.ec2.release_address(AllocationId=left["AllocationId"])
    before = api.dump()
    assert api.ec2.delete_nat_gateway(NatGatewayId=gateway_id)["NatGatewayId"] == gateway_id  # while it is described
    assert api.dump() == before

    keep(api, NOW + timedelta(days=3650))
    api.refused("NatGatewayNotFound", api.ec2.delete_nat_gateway, NatGatewayId=gateway_id)
    api.refused("NatGatewayNotFound", api.ec2.describe_nat_gateways, NatGatewayIds=[gateway_id])


def test_a_gateways_address_is_billed_as_in_use(api: Api) -> None:
    made = create(api)
    gateway_id, allocation_id = made["NatGatewayId"], made["NatGatewayAddresses"][0]["AllocationId"]
    assert metered(api, UsageMeter, "Public") == [(allocation_id, "PublicIPv4:InUseAddress", 1)]
    api.ec2.delete_nat_gateway(NatGatewayId=gateway_id)
    assert metered(api, UsageMeter, "Public") == [(allocation_id, "PublicIPv4:InUseAddress", 1)]
    report(api, desired_pb2.KIND_NAT_GATEWAY, gateway_id, pb.CONDITION_ABSENT)
    assert metered(api, UsageMeter, "Public") == [(allocation_id, "PublicIPv4:IdleAddress", 1)]


def metered(api: Api, model: type[UsageMeter | UsageLine], kind: str = "Nat") -> list[tuple[str, str, int]]:
    """What NAT gateways use now, or have used, or uses whose names begin otherwise."""
    query = select(model.resource_id, model.usage, model.quantity).where(model.usage.startswith(kind))
    return [tuple(row) for row in api.run(lambda tx: tx.connection.execute(query).all())]


def keep(api: Api, now: Any) -> None:
    api.run(clean_up, Settings(Path("/nowhere")), now)


def test_a_private_gateway_has_the_address_that_was_asked(api: Api) -> None:
    made = create(api, ConnectivityType="private", PrivateIpAddress="172.31.0.66")
    (address,) = made["NatGatewayAddresses"]
    assert (address["PrivateIp"], "PublicIp" in address) == ("172.31.0.66", False)
    for name, value in [
        ("nat-gateway-id", made["NatGatewayId"]),
        ("state", "pending"),
        ("subnet-id", made["SubnetId"]),
        ("vpc-id", made["VpcId"]),
    ]:
        found = api.ec2.describe_nat_gateways(Filters=[{"Name": name, "Values": [value]}])["NatGateways"]
        assert [one["NatGatewayId"] for one in found] == [made["NatGatewayId"]]
    assert api.ec2.describe_nat_gateways(Filters=[{"Name": "state", "Values": ["failed"]}])["NatGateways"] == []


def test_a_repeated_client_token_makes_nothing_more(api: Api) -> None:
    first = create(api, ConnectivityType="private", ClientToken="once")
    again = create(api, ConnectivityType="private", ClientToken="once")
    assert again["NatGatewayId"] == first["NatGatewayId"]
    assert len(api.ec2.describe_nat_gateways()["NatGateways"]) == 1


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("MissingParameter", {}),
        ("InvalidAllocationID.NotFound", {"AllocationId": "eipalloc-00000000000000000"}),
        ("InvalidSubnetID.NotFound", {"ConnectivityType": "private", "SubnetId": "subnet-00000000000000000"}),
        ("InvalidParameterValue", {"ConnectivityType": "secret"}),
        ("InvalidParameterValue", {"ConnectivityType": "private", "PrivateIpAddress": "10.0.0.5"}),
        ("UnsupportedOperation", {"ConnectivityType": "private", "SecondaryPrivateIpAddressCount": 1}),
        (
            "InvalidParameterCombination",
            {"ConnectivityType": "private", "AllocationId": "eipalloc-00000000000000000"},
        ),
    ],
)
def test_a_bad_request_is_refused(api: Api, code: str, params: dict[str, Any]) -> None:
    good = {"SubnetId": api.world.one.subnet_ids[0]}
    api.refused(code, lambda: api.ec2.create_nat_gateway(**good | params))


def test_an_address_in_use_is_refused(api: Api) -> None:
    instance_id = api.launch()
    allocation_id = api.ec2.allocate_address()["AllocationId"]
    api.ec2.associate_address(AllocationId=allocation_id, InstanceId=instance_id)
    api.refused("Resource.AlreadyAssociated", lambda: create(api, AllocationId=allocation_id))
    api.refused(
        "InvalidIPAddress.InUse", lambda: create(api, ConnectivityType="private", PrivateIpAddress="172.31.0.4")
    )


def test_the_sixth_in_a_zone_is_refused(api: Api) -> None:
    for _ in range(5):
        create(api, ConnectivityType="private")
    api.refused("NatGatewayLimitExceeded", lambda: create(api, ConnectivityType="private"))


def test_what_shows_only_while_it_is_made_ends_as_failed(api: Api) -> None:
    api.run(detach_gateway, api.world.one.vpc_id)
    made = create(api)
    assert (made["State"], made["FailureCode"]) == ("failed", "Gateway.NotAttached")
    (left,) = api.ec2.describe_addresses()["Addresses"]
    assert "AssociationId" not in left
    api.run(lambda tx: setattr(tx.session.get_one(Host, api.world.host_id), "state", "down"))
    made = create(api, ConnectivityType="private")
    assert (made["State"], made["FailureCode"]) == ("failed", "InternalError")
    api.ec2.delete_nat_gateway(NatGatewayId=made["NatGatewayId"])
    assert gateway(api, made["NatGatewayId"])["State"] == "deleted"


def test_a_host_that_cannot_make_it_is_given_up_in_time(api: Api) -> None:
    made = create(api)
    status = pb.ResourceStatus(
        kind=desired_pb2.KIND_NAT_GATEWAY, id=made["NatGatewayId"], condition=pb.CONDITION_FAILED, error="no room"
    )
    api.run(reports.apply_progress, [(api.world.host_id, [status])], NOW)
    assert gateway(api, made["NatGatewayId"])["State"] == "pending"
    keep(api, made["CreateTime"] + timedelta(seconds=301))
    ended = gateway(api, made["NatGatewayId"])
    assert (ended["State"], ended["FailureCode"]) == ("failed", "InternalError")
    assert sent(api, desired_pb2.KIND_NAT_GATEWAY, made["NatGatewayId"]) is None
    assert api.run(lambda tx: tx.session.scalars(select(NetworkInterface.id)).all()) == []
    assert api.run(lambda tx: tx.session.scalars(select(PublicAddress.interface_id)).all()) == [None]


def test_a_gateway_moves_when_its_host_is_given_up(api: Api) -> None:
    made = create(api)

    def add_host(tx: Any) -> str:
        other = rows.host(hostname="second")
        tx.session.add(other)
        return str(other.id)

    other = api.run(add_host)
    api.run(host_records.remove_host, api.world.cloud, api.world.host_id, NOW, lost=False)
    assert api.run(lambda tx: tx.session.get_one(NatGateway, made["NatGatewayId"]).host_id) == other
    key = (other, int(desired_pb2.KIND_NAT_GATEWAY), made["NatGatewayId"])
    assert api.run(lambda tx: tx.session.get_one(HostResource, key).body) is not None
