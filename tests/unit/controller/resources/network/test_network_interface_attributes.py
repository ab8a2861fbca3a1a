"""The attributes of a network interface, one at a time."""

import pytest
from sqlalchemy import select, update

from stead_controller.aws.ec2.network.network_interface_view import attachment_view
from stead_controller.db.tables import NetworkInterface
from stead_controller.errors import InvalidCombination, InvalidParameter, MalformedId, NotFound
from stead_controller.resources.network import network_interface_attributes
from tests.support import rows
from tests.support.rows import NOW


def launch(run, world, **changes):
    def add(tx):
        instance = rows.launch(tx, world, world.one, **changes)
        return tx.session.scalar(select(NetworkInterface.id).where(NetworkInterface.instance_id == instance.id))

    return run(add)


@pytest.fixture
def interface_id(world, run):
    """The interface of an instance of the first tenant, without a public address."""
    return launch(run, world)


def describe(run, tenant, interface_id, attribute):
    return run(network_interface_attributes.describe, tenant.caller, interface_id, attribute)


def test_each_attribute_comes_alone(world, run, interface_id):
    for attribute, groups in [
        ("description", ()),
        ("groupSet", [(world.one.group_id, "default")]),
        ("sourceDestCheck", ()),
        ("associatePublicIpAddress", ()),
    ]:
        found = describe(run, world.one, interface_id, attribute)
        assert (found.interface.id, found.name, found.groups) == (interface_id, attribute, groups)
        assert not found.has_public_address


def test_the_attachment(world, run, interface_id):
    shown = attachment_view(describe(run, world.one, interface_id, "attachment"))
    assert (shown["Status"], shown["DeviceIndex"], shown["DeleteOnTermination"]) == ("attached", 0, True)
    assert shown["AttachTime"] == NOW
    assert shown["InstanceOwnerId"] == world.one.caller.account_id


def test_an_interface_of_no_instance_has_no_attachment(world, run, interface_id):
    detached = update(NetworkInterface).where(NetworkInterface.id == interface_id).values(attachment_id=None)
    run(lambda tx: tx.session.execute(detached) and None)
    assert attachment_view(describe(run, world.one, interface_id, "attachment")) is None


def test_a_public_address_shows(world, run):
    interface_id = launch(run, world, public_address="198.18.0.5")
    assert describe(run, world.one, interface_id, "associatePublicIpAddress").has_public_address


def test_other_accounts_see_nothing(world, run, interface_id):
    refusals = []
    for named in (interface_id, "eni-00000000000000000"):
        with pytest.raises(NotFound) as refusal:
            describe(run, world.other, named, "description")
        refusals.append(refusal.value.message.replace(named, "X"))
    assert refusals[0] == refusals[1]
    with pytest.raises(MalformedId):
        describe(run, world.one, "eni-nonsense", "description")


def test_no_attribute_and_an_unknown_one_are_refused(world, run, interface_id):
    with pytest.raises(InvalidCombination):
        describe(run, world.one, interface_id, "")
    with pytest.raises(InvalidParameter):
        describe(run, world.one, interface_id, "colour")
