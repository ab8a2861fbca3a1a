"""NAT gateways and the interfaces of interface endpoints leave a host that is drained, with their addresses."""

import pytest
from sqlalchemy import func, select, update

from stead_controller.db.tables import (
    Host,
    HostResource,
    NatGateway,
    NetworkInterface,
    Subnet,
    VpcEndpoint,
    VpcEndpointInterface,
    VpcHost,
)
from stead_controller.errors import InUse
from stead_controller.hosts import reports
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.network import (
    nat_gateways,
    vpc_endpoint_interfaces,
    vpc_endpoint_services,
    vpc_endpoints,
)
from stead_controller.resources.operators import drain_moves, host_records
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW

NAT, PLUG = desired.KIND_NAT_GATEWAY, desired.KIND_ENDPOINT_INTERFACE
MOVES, WAITS = (
    ("it moves to another host", 0),
    ("it waits until another host of us-east-1a is up and not cordoned", None),
)


def make_gateway(run, world, **changes):
    request = nat_gateways.CreateRequest(subnet_id(run, world), connectivity="private", **changes)
    gateway_id = run(nat_gateways.create, world.one.caller, request, NOW)
    report(run, world.host_id, NAT, gateway_id)
    return gateway_id


def subnet_id(run, world):
    here = select(Subnet.id).where(Subnet.vpc_id == world.one.vpc_id, Subnet.zone == "us-east-1a")
    return run(lambda tx: tx.session.scalars(here).one())


def make_endpoint(run, world):
    request = vpc_endpoints.CreateRequest(
        world.one.vpc_id,
        f"com.amazonaws.{CLOUD.region}.ec2",
        vpc_endpoint_services.INTERFACE,
        subnets={subnet_id(run, world): None},
    )
    repeatable = Repeatable("CreateVpcEndpoint", "", "")
    run(lambda tx: vpc_endpoints.create(tx, world.one.caller, CLOUD, request, repeatable=repeatable, now=NOW))
    interface_id = run(lambda tx: tx.session.scalars(select(VpcEndpointInterface.interface_id)).one())
    report(run, world.host_id, PLUG, interface_id)
    return interface_id


def report(run, host_id, kind, resource_id, condition=pb.CONDITION_READY):
    status = pb.ResourceStatus(kind=kind, id=resource_id, condition=condition, revision=1 << 40)
    run(reports.apply_progress, [(host_id, [status])], NOW)


def reach(run, host_id):
    """Let a host have done all that it was sent."""
    latest = select(func.max(HostResource.revision)).scalar_subquery()
    set_all(run, Host, Host.id == host_id, revision_reached=latest)


def set_all(run, table, *which, **values):
    run(lambda tx: tx.session.execute(update(table).where(*which).values(**values)) and None)


@pytest.fixture
def gateway(run, world):
    """A private NAT gateway that works on the world's host."""
    return make_gateway(run, world)


@pytest.fixture
def plug(run, world):
    """The interface of an interface endpoint, which works on the world's host."""
    return make_endpoint(run, world)


@pytest.fixture
def second(run, world):
    """Another host of the zone."""
    return add_host(run, hostname="second")


def add_host(run, **values):
    host = rows.host(**values)
    run(lambda tx: tx.session.add(host))
    return host.id


def drain(run, world):
    return run(host_records.drain_host, CLOUD, world.host_id, NOW)


def step(run):
    run(drain_moves.take_steps, CLOUD, NOW)


def shown(run, world):
    return run(host_records.show_host, CLOUD, world.host_id)


def notes(run, world):
    return {use.resource_id: (use.note, use.percent) for use in shown(run, world).uses}


def has(run, host_id, kind, resource_id):
    body = run(lambda tx: tx.session.get(HostResource, (host_id, int(kind), resource_id)))
    return body is not None and body.body is not None


def row(run, kind, resource_id):
    return run(lambda tx: tx.session.get_one(kind, resource_id))


def test_a_gateway_moves_with_its_address_and_a_host_without_it_is_drained(run, world, gateway, second):
    before = row(run, NatGateway, gateway)
    drain(run, world)
    assert notes(run, world) == {gateway: MOVES}
    step(run)
    after = row(run, NatGateway, gateway)
    assert (after.host_id, after.state, after.private_address) == (second, "available", before.private_address)
    assert row(run, NetworkInterface, after.interface_id).host_id == second
    for kind, resource_id in ((NAT, gateway), (desired.KIND_INTERFACE, after.interface_id)):
        assert has(run, second, kind, resource_id)
        assert not has(run, world.host_id, kind, resource_id)
    left = select(VpcHost.host_id).where(VpcHost.vpc_id == world.one.vpc_id, VpcHost.gone_revision.is_(None))
    assert run(lambda tx: tx.session.scalars(left).all()) == [second]
    found = shown(run, world)
    assert (found.state, [(use.kind, use.resource_id, use.state) for use in found.uses]) == (
        "draining",
        [("nat-gateway", gateway, "removing")],
    )
    with pytest.raises(InUse, match=f"still to remove the nat-gateway {gateway}"):
        run(host_records.remove_host, CLOUD, world.host_id, NOW, lost=False)
    reach(run, world.host_id)
    assert shown(run, world).state == "drained"
    run(host_records.remove_host, CLOUD, world.host_id, NOW, lost=False)
    assert row(run, NatGateway, gateway).host_id == second


def test_an_endpoints_interface_moves_and_is_available_when_it_is_there(run, world, plug, second):
    before = row(run, NetworkInterface, plug)
    drain(run, world)
    assert notes(run, world) == {plug: MOVES}
    step(run)
    after = row(run, NetworkInterface, plug)
    assert (after.host_id, after.private_address) == (second, before.private_address)
    moved = row(run, VpcEndpointInterface, plug)
    assert (moved.host_id, moved.state) == (second, "pending")
    assert row(run, VpcEndpoint, moved.endpoint_id).state == "available"
    for kind in (PLUG, desired.KIND_INTERFACE):
        assert has(run, second, kind, plug)
        assert not has(run, world.host_id, kind, plug)
    assert [(use.kind, use.state) for use in shown(run, world).uses] == [("vpc-endpoint-interface", "removing")]
    reach(run, world.host_id)
    assert shown(run, world).state == "drained"
    report(run, world.host_id, PLUG, plug)  # what the old host still says of it is of no account
    assert row(run, VpcEndpointInterface, plug).state == "pending"
    report(run, second, PLUG, plug)
    assert row(run, VpcEndpointInterface, plug).state == "available"


@pytest.mark.parametrize("values", [{"state": "down"}, {"schedulable": False}, {"zone": "us-east-1b"}])
def test_without_another_host_they_stay_and_say_so(run, world, gateway, plug, values):
    other = add_host(run, hostname="second", **values)
    drain(run, world)
    step(run)
    assert notes(run, world) == {gateway: WAITS, plug: WAITS}
    assert shown(run, world).state == "draining"
    set_all(run, Host, Host.id == other, state="up", schedulable=True, zone="us-east-1a")
    step(run)
    assert {row(run, NatGateway, gateway).host_id, row(run, VpcEndpointInterface, plug).host_id} == {other}


def test_a_host_that_is_down_keeps_them_since_it_may_still_have_their_addresses(run, world, gateway, plug, second):
    drain(run, world)
    set_all(run, Host, Host.id == world.host_id, state="down")
    step(run)
    assert set(notes(run, world).values()) == {("it leaves when its host is up, or removed", None)}
    assert {row(run, NatGateway, gateway).host_id, row(run, VpcEndpointInterface, plug).host_id} == {world.host_id}


def test_those_of_other_hosts_and_of_hosts_that_are_not_drained_stay(run, world, gateway, plug, second):
    step(run)
    assert row(run, NatGateway, gateway).host_id == world.host_id
    drain(run, world)
    third = add_host(run, hostname="third", memory_free=1 << 50)
    set_all(run, NatGateway, host_id=second)
    set_all(run, VpcEndpointInterface, host_id=second)
    step(run)
    found = {row(run, NatGateway, gateway).host_id, row(run, VpcEndpointInterface, plug).host_id}
    assert (found, third in found) == ({second}, False)


def test_what_is_being_deleted_ends_where_it_is(run, world, gateway, plug, second):
    run(nat_gateways.delete, world.one.caller, gateway, NOW)
    run(lambda tx: vpc_endpoint_interfaces.remove(tx, tx.session.get_one(VpcEndpointInterface, plug), NOW))
    drain(run, world)
    step(run)
    assert {row(run, NatGateway, gateway).host_id, row(run, VpcEndpointInterface, plug).host_id} == {world.host_id}
    report(run, world.host_id, NAT, gateway, pb.CONDITION_ABSENT)
    report(run, world.host_id, PLUG, plug, pb.CONDITION_ABSENT)
    reach(run, world.host_id)
    assert shown(run, world).state == "drained"


def test_one_that_its_host_could_not_make_is_made_on_another(run, world, second):
    set_all(run, Host, Host.id == second, schedulable=False)
    made, plug = make_gateway(run, world), make_endpoint(run, world)
    set_all(run, NatGateway, host_error="no room")
    set_all(run, VpcEndpointInterface, host_error="no room")
    set_all(run, Host, Host.id == second, schedulable=True)
    drain(run, world)
    step(run)
    for kind, name in ((NatGateway, made), (VpcEndpointInterface, plug)):
        assert (row(run, kind, name).host_id, row(run, kind, name).host_error) == (second, "")


def test_it_may_come_back(run, world, gateway, second):
    drain(run, world)
    step(run)
    run(host_records.set_schedulable, CLOUD, world.host_id, NOW, schedulable=True)
    run(host_records.drain_host, CLOUD, second, NOW)
    step(run)
    assert row(run, NatGateway, gateway).host_id == world.host_id
    assert has(run, world.host_id, NAT, gateway)
    assert shown(run, world).uses[0].state == "available"
