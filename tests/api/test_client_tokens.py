"""Many requests at once with one client token make one resource, and each is answered with it (FAULTS 12)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.conftest import Api

_AT_ONCE = 16
_MADE: dict[
    str, tuple[Callable[[Api], dict[str, Any]], Callable[[dict[str, Any]], str], Callable[[Api], list[Any]]]
] = {
    "create_volume": (
        lambda _: {"AvailabilityZone": "us-east-1a", "Size": 1},
        lambda answer: answer["VolumeId"],
        lambda api: api.ec2.describe_volumes()["Volumes"],
    ),
    "create_network_interface": (
        lambda api: {"SubnetId": api.world.one.subnet_ids[0]},
        lambda answer: answer["NetworkInterface"]["NetworkInterfaceId"],
        lambda api: api.ec2.describe_network_interfaces()["NetworkInterfaces"],
    ),
    "create_nat_gateway": (
        lambda api: {"SubnetId": api.world.one.subnet_ids[0], "ConnectivityType": "private"},
        lambda answer: answer["NatGateway"]["NatGatewayId"],
        lambda api: api.ec2.describe_nat_gateways()["NatGateways"],
    ),
    "create_route_table": (
        lambda api: {"VpcId": api.world.one.vpc_id},
        lambda answer: answer["RouteTable"]["RouteTableId"],
        lambda api: api.ec2.describe_route_tables()["RouteTables"],
    ),
    "create_network_acl": (
        lambda api: {"VpcId": api.world.one.vpc_id},
        lambda answer: answer["NetworkAcl"]["NetworkAclId"],
        lambda api: api.ec2.describe_network_acls()["NetworkAcls"],
    ),
    "create_egress_only_internet_gateway": (
        lambda api: {"VpcId": api.world.one.vpc_id},
        lambda answer: answer["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"],
        lambda api: api.ec2.describe_egress_only_internet_gateways()["EgressOnlyInternetGateways"],
    ),
    "create_managed_prefix_list": (
        lambda _: {"PrefixListName": "mine", "AddressFamily": "IPv4", "MaxEntries": 5},
        lambda answer: answer["PrefixList"]["PrefixListId"],
        lambda api: api.ec2.describe_managed_prefix_lists()["PrefixLists"],
    ),
}


@pytest.mark.parametrize("operation", _MADE)
def test_many_at_once_with_one_client_token_make_one_thing(api: Api, operation: str) -> None:
    params_of, id_of, there = _MADE[operation]
    params, before = params_of(api), len(there(api))

    def call(_: int) -> str:
        return id_of(getattr(api.ec2, operation)(**params, ClientToken="of many"))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        assert len(set(pool.map(call, range(_AT_ONCE)))) == 1
    assert len(there(api)) == before + 1
