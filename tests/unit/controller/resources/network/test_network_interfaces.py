"""Network interfaces as filters find them, and what is known of them."""

import pytest

from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.network import network_interfaces
from tests.support import rows
from tests.support.rows import CLOUD


@pytest.fixture
def instance_id(world, run):
    return run(lambda tx: rows.launch(tx, world, world.one, public_address="198.18.0.5").id)


@pytest.fixture
def loose(world, run):
    """The id of an interface that is attached to nothing and in no group."""

    def add(tx):
        instance = rows.launch(tx, world, world.other)
        detached = {"instance_id": None, "attachment_id": None, "attachment_state": None, "attach_time": None}
        interface = rows.network_interface(
            instance,
            account_id=world.one.caller.account_id,
            vpc_id=world.one.vpc_id,
            subnet_id=world.one.subnet_ids[1],
            mac_address="02:00:00:00:00:99",
            private_address="172.31.16.9",
            status="available",
            description="spare",
            source_dest_check=False,
            device_index=None,
            **detached,
        )
        tx.session.add_all([interface, rows.held(interface)])
        return interface.id

    return run(add)


def described(run, caller, *filters):
    asked = Selection(filters=tuple(Filter(name, (value,)) for name, value in filters))
    return run(network_interfaces.describe, caller, CLOUD, asked)


def test_attached_and_loose(world, run, instance_id, loose):
    known = {one.interface.id: one for one in described(run, world.one.caller)}
    assert known[loose].interface.attachment_id is None
    assert [(one.address, one.primary, one.public, one.public_name) for one in known[loose].addresses] == [
        ("172.31.16.9", True, None, "")
    ]
    assert known[loose].groups == []
    (attached,) = described(run, world.one.caller, ("attachment.instance-id", instance_id))
    assert attached.interface.instance_id == instance_id
    (address,) = attached.addresses
    assert address.public.address == "198.18.0.5"
    assert address.public_name == "ec2-198-18-0-5.compute-1.amazonaws.com"
    assert address.name == "ip-172-31-0-4.ec2.internal"
    assert attached.groups == [(world.one.group_id, "default")]


@pytest.mark.parametrize(
    ("name", "value", "who"),
    [
        ("addresses.association.public-ip", "198.18.*", "attached"),
        ("addresses.primary", "true", "both"),
        ("addresses.private-ip-address", "172.31.16.9", "loose"),
        ("association.ip-owner-id", "amazon", "attached"),
        ("association.public-ip", "198.18.0.5", "attached"),
        ("attachment.attach-time", "2026-*", "attached"),
        ("attachment.delete-on-termination", "true", "attached"),
        ("attachment.device-index", "0", "attached"),
        ("attachment.instance-owner-id", "111111111111", "attached"),
        ("attachment.status", "attached", "attached"),
        ("availability-zone", "us-east-1a", "both"),
        ("availability-zone-id", "use1-az1", "both"),
        ("description", "spare", "loose"),
        ("group-name", "default", "attached"),
        ("interface-type", "interface", "both"),
        ("mac-address", "02:00:00:00:00:99", "loose"),
        ("owner-id", "111111111111", "both"),
        ("private-dns-name", "ip-172-31-16-9.ec2.internal", "loose"),
        ("private-ip-address", "172.31.0.4", "attached"),
        ("requester-managed", "false", "both"),
        ("source-dest-check", "false", "loose"),
        ("status", "in-use", "attached"),
        ("status", "available", "loose"),
        ("ipv6-addresses.ipv6-address", "*", "none"),
    ],
)
def test_filters(world, run, instance_id, loose, name, value, who):  # noqa: PLR0917 — fixtures and a case
    found = {one.interface.id for one in described(run, world.one.caller, (name, value))}
    both = {one.interface.id for one in described(run, world.one.caller)}
    assert found == {"attached": both - {loose}, "loose": {loose}, "both": both, "none": set()}[who]


def test_filters_by_id(world, run, instance_id, loose):
    for name, value, number in [
        ("group-id", world.one.group_id, 1),
        ("network-interface-id", loose, 1),
        ("subnet-id", world.one.subnet_ids[1], 1),
        ("vpc-id", world.one.vpc_id, 2),
        ("vpc-id", world.other.vpc_id, 0),
    ]:
        assert len(described(run, world.one.caller, (name, value))) == number, name
