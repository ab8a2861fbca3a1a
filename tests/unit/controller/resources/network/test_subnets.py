"""Subnets as filters find them; free addresses are counted."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import InterfaceAddress, NetworkInterface, Subnet
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.network import subnets
from tests.support import rows
from tests.support.rows import CLOUD


def found(run, caller, *filters):
    asked = Selection(filters=tuple(Filter(name, (value,)) for name, value in filters))
    return [one.subnet.id for one in run(subnets.describe, caller, CLOUD, asked)]


def test_free_addresses_are_counted(world, run):
    run(lambda tx: [rows.launch(tx, world, world.one, number=number) for number in range(3)] and None)
    known = {one.subnet.id: one for one in run(subnets.describe, world.one.caller, CLOUD, Selection())}
    first, second = world.one.subnet_ids
    assert known[first].free_addresses == 4096 - 5 - 3
    assert known[second].free_addresses == 4096 - 5
    assert found(run, world.one.caller, ("available-ip-address-count", "4088")) == [first]
    assert found(run, world.one.caller, ("available-ip-address-count", "40*")) == sorted([first, second])
    assert found(run, world.one.caller, ("available-ip-address-count", "1")) == []


def test_only_ipv4_addresses_are_counted_and_an_ipv6_only_subnet_has_none(world, run):
    first, second = world.one.subnet_ids

    def add(tx):
        rows.launch(tx, world, world.one)
        eni = tx.session.scalars(select(NetworkInterface)).one()
        tx.session.add(InterfaceAddress(subnet_id=first, address="fd00::9", interface_id=eni.id, ipv6=True))
        tx.session.get_one(Subnet, second).cidr_block = None

    run(add)
    known = {one.subnet.id: one for one in run(subnets.describe, world.one.caller, CLOUD, Selection())}
    assert {each: one.free_addresses for each, one in known.items()} == {first: 4096 - 5 - 1, second: 0}
    assert found(run, world.one.caller, ("available-ip-address-count", "0")) == [second]


def test_addresses_are_counted_of_the_subnets_asked_about_alone(world, run, monkeypatch):
    first, _ = world.one.subnet_ids
    run(lambda tx: [rows.launch(tx, world, each) for each in (world.one, world.other)] and None)
    assert run(subnets._taken, [first]) == {first: 1}
    counted = []
    monkeypatch.setattr(subnets, "_taken", lambda _tx, subnet_ids: counted.extend(subnet_ids) or {})
    assert found(run, world.one.caller, ("available-ip-address-count", "1")) == []
    assert sorted(counted) == sorted(world.one.subnet_ids)


@pytest.mark.parametrize(
    ("name", "value", "which"),
    [
        ("availability-zone", "us-east-1b", "second"),
        ("availabilityZone", "us-east-1b", "second"),
        ("availability-zone-id", "use1-az2", "second"),
        ("availabilityZoneId", "use1-az?", "both"),
        ("cidr-block", "172.31.0.0/20", "first"),
        ("cidr", "172.31.16.0/20", "second"),
        ("cidrBlock", "172.31.16.0/21", "none"),
        ("default-for-az", "true", "both"),
        ("defaultForAz", "false", "none"),
        ("map-public-ip-on-launch", "true", "both"),
        ("ipv6-native", "false", "both"),
        ("owner-id", "111111111111", "both"),
        ("state", "available", "both"),
        ("outpost-arn", "*", "none"),
        ("subnet-arn", "arn:aws:ec2:us-east-1:111111111111:subnet/*", "both"),
    ],
)
def test_filters(world, run, name, value, which):
    first, second = world.one.subnet_ids
    expected = {"first": [first], "second": [second], "both": sorted([first, second]), "none": []}
    assert found(run, world.one.caller, (name, value)) == expected[which]


def test_filters_by_id(world, run):
    first, second = world.one.subnet_ids
    assert found(run, world.one.caller, ("subnet-id", first)) == [first]
    assert found(run, world.one.caller, ("vpc-id", world.one.vpc_id)) == sorted([first, second])
    assert found(run, world.one.caller, ("vpc-id", world.other.vpc_id)) == []
