"""What a launch answers and tells hosts of what it has just added is what is read of the rows afterwards."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, select, update

from stead_controller.aws.ec2.instances.instance_view import reservation_view
from stead_controller.db.tables import HostResource, NetworkInterface, PublicAddress, Subnet, Vpc, VpcResource
from stead_controller.desired import desired_state, topics
from stead_controller.resources.instances import instances, launched
from stead_controller.resources.instances.launch_interfaces import InterfaceRequest
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import launch
from stead_controller.resources.network import network_interface_life
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest
from stead_proto.v1 import desired_pb2 as pb
from tests.support.rows import NOW

_KNOWN: dict[str, dict[str, Any]] = {
    "plain": {},
    "three with tags": {"most": 3, "tags": {"instance": {"b": "2", "B": "1", "ä": ""}, "volume": {"of": "a disk"}}},
    "without a public address": {"interfaces": (InterfaceRequest(associate_public_address=False),)},
    "two interfaces": {"interfaces": (InterfaceRequest(1, description="second"), InterfaceRequest(0))},
    "no IPv6 wanted": {"interfaces": (InterfaceRequest(addresses=AddressRequest(ipv6_count=0)),)},
}
_READ: dict[str, dict[str, Any]] = {
    "two addresses": {"interfaces": (InterfaceRequest(addresses=AddressRequest(secondary_count=1)),)},
    "an IPv6 address": {"interfaces": (InterfaceRequest(addresses=AddressRequest(ipv6_count=1)),)},
}


def _request(world, most=1, **more):
    return LaunchRequest(world.image_id, "stead.tiny", most, most, **more)


def _bodies(tx):
    """Everything that hosts are told, by what it is of."""
    own = select(HostResource.host_id, HostResource.kind, HostResource.resource_id, HostResource.body)
    shared = select(VpcResource.vpc_id, VpcResource.kind, VpcResource.resource_id, VpcResource.body)
    return sorted(map(tuple, [*tx.connection.execute(own), *tx.connection.execute(shared)]))


@pytest.mark.parametrize("names", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("more", [*_KNOWN.values(), *_READ.values()], ids=[*_KNOWN, *_READ])
def test_what_is_known_of_a_launch_is_what_is_read(world, life, more, names):
    def check(tx):
        support, hostnames = names
        tx.session.execute(update(Vpc).values(dns_support=support, dns_hostnames=hostnames))
        for number, subnet in enumerate(tx.session.scalars(select(Subnet))):
            subnet.ipv6_cidr_block = f"fd00:{number + 1}::/64"
        _check(tx, world, life, launch(tx, life.caller, world.cloud, _request(world, **more), NOW))

    life.run(check)


def test_a_new_interface_has_not_the_public_address_of_an_existing_one(world, life):
    def check(tx):
        subnet = tx.session.scalars(select(Subnet).where(Subnet.default_for_zone.is_(True))).first()
        first = network_interface_life.create(tx, life.caller, CreateRequest(subnet.id), NOW)
        owned = {"account_id": life.caller.account_id, "allocation_id": "eipalloc-1", "association_id": "eipassoc-1"}
        where = {"interface_id": first, "private_address": tx.session.get(NetworkInterface, first).private_address}
        tx.session.add(PublicAddress(address="203.0.113.9", **owned, **where))
        tx.flush()
        both = (InterfaceRequest(0, first), InterfaceRequest(1, subnet_id=subnet.id))
        made = launch(tx, life.caller, world.cloud, _request(world, interfaces=both), NOW)
        assert made.made[0][0].public_address == "203.0.113.9"
        _check(tx, world, life, made)

    life.run(check)


def _check(tx, world, life, made):
    """Check that a launch is answered, and told hosts, as it is read."""
    tx.flush()
    shown = launched.described(tx, life.caller, world.cloud, made)
    read = instances.reservation(tx, life.caller, world.cloud, made.reservation_id)
    assert reservation_view(shown) == reservation_view(read)
    told = _bodies(tx)
    for instance, parts in made.made:
        tx.session.expire_all()
        desired_state.refresh_instance(tx, instance.id)
        for interface in parts.interfaces:
            topics.refresh_part(tx, pb.KIND_MAPPING, interface.id, interface.vpc_id)
    assert _bodies(tx) == told
    assert any(kind == pb.KIND_MAPPING for _, kind, _, _ in told)


@pytest.mark.parametrize("more", _KNOWN.values(), ids=_KNOWN)
def test_what_a_launch_has_added_is_not_read_for_its_answer(database, world, life, more):
    asked = []
    event.listen(database.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))

    def check(tx):
        made = launch(tx, life.caller, world.cloud, _request(world, **more), NOW)
        before = len(asked)
        shown = launched.described(tx, life.caller, world.cloud, made)
        assert len(reservation_view(shown)["Instances"]) == more.get("most", 1)
        assert asked[before:] == []

    life.run(check)


def test_a_repeated_launch_is_read(world, life):
    request = _request(world, client_token="a token")
    answers = []
    for _ in range(2):
        made = life.run(launch, life.caller, world.cloud, request, NOW)
        answers.append(life.run(partial(launched.described, caller=life.caller, cloud=world.cloud, launched=made)))
    first, second = map(reservation_view, answers)
    assert first == second
    assert len(second["Instances"]) == 1
