"""Where an interface is, as its instance is refreshed, is what is drawn of the rows alone, whatever the interface has."""

from itertools import product

import pytest

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    Host,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    UnclaimedAddress,
    UnclaimedResource,
    Vpc,
    VpcResource,
)
from stead_controller.desired import desired_state
from stead_controller.desired.messages import mapping
from stead_proto.v1 import desired_pb2 as pb
from tests.support import rows

PUBLIC = "198.18.0.9"


def _written(tx, interface):
    body = tx.session.get_one(VpcResource, (interface.vpc_id, pb.KIND_MAPPING, interface.id)).body
    return pb.Resource.FromString(body).mapping


def _give_more(tx, world, interface):
    """Give an interface further addresses, not in their order, and a further group."""
    more = [("172.31.9.9", False, 2), ("172.31.10.1", False, 1), ("fd00::9", True, 2), ("fd00::10", True, 1)]
    tx.session.add_all(
        InterfaceAddress(
            subnet_id=interface.subnet_id, address=address, interface_id=interface.id, ipv6=ipv6, position=position
        )
        for address, ipv6, position in more
    )
    group = SecurityGroup(
        id=ids.new_id("security-group"),
        account_id=world.one.caller.account_id,
        vpc_id=interface.vpc_id,
        name="more",
        description="more",
        created=rows.NOW,
    )
    tx.session.add(group)
    tx.session.flush()
    tx.session.add(InterfaceGroup(interface_id=interface.id, group_id=group.id))


@pytest.mark.parametrize(("more", "public", "names"), list(product([False, True], ["", "own", "unclaimed"], [0, 1, 2])))
def test_it_is_what_is_drawn_of_the_rows(database, world, more, public, names):
    def check(tx):
        tx.session.get_one(Host, world.host_id).underlay_address = "192.0.2.1"
        tx.session.get_one(Vpc, world.one.vpc_id).dns_hostnames = names > 0
        records = {"resource_name_a_record": names > 0, "resource_name_aaaa_record": names > 1}
        instance = rows.launch(tx, world, world.one, number=1, public_address=PUBLIC if public else None, **records)
        interface = tx.session.query(NetworkInterface).filter_by(instance_id=instance.id).one()
        second = rows.network_interface(instance, id=ids.new_id("network-interface"), device_index=1)
        second.private_address, second.mac_address = "172.31.0.99", "02:00:00:00:00:99"
        second.source_dest_check = False
        tx.session.add_all([second, rows.held(second)])
        if more:
            _give_more(tx, world, interface)
        if public == "unclaimed":
            key = {"host_id": world.host_id, "kind": int(pb.KIND_INTERFACE), "resource_id": "eni-9"}
            tx.session.add(UnclaimedResource(**key, vcpus=0, memory=0, disk=0, pool="", said=None))
            tx.session.flush()
            tx.session.add(UnclaimedAddress(**key, place="", address=PUBLIC))
        desired_state.refresh_instance(tx, instance.id)
        for each in (interface, second):
            assert _written(tx, each) == mapping.draw(tx, each.id)
        found = _written(tx, interface)
        assert len(found.addresses) == (5 if more else 1)
        assert len(found.security_group_ids) == (2 if more else 1)
        assert found.host_address == "192.0.2.1"
        assert bool(found.public_dns_name) == bool(public and names)
        assert len(found.resource_name_addresses) == (names if more else min(names, 1))
        assert not _written(tx, second).resource_name_addresses
        return tx.session.query(PublicAddress).count() == bool(public)

    assert database.run_blocking(check)
