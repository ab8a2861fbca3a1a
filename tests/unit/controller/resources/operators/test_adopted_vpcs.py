"""A VPC that was made after the copy is made again with the first instance in it: all of its rows are as they were."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Account, Image, Subnet, Vpc
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.route_destinations import read as destination
from stead_controller.request.route_target import TargetRequest
from stead_controller.resources.network import (
    create_subnet,
    create_vpc,
    dhcp_options,
    egress_only_gateways,
    internet_gateways,
    nat_gateways,
    network_acls,
    notify_topology,
    route_table_associations,
    route_tables,
    routes,
    security_groups,
    subnet_attributes,
    vpc_peering_connections,
)
from stead_controller.resources.operators import unclaimed_resources
from stead_proto.v1 import desired_pb2 as desired
from tests.support import kept
from tests.support.rows import NOW
from tests.unit.controller.resources.operators import lost_changes as lost
from tests.unit.controller.resources.operators.test_adoption import TABLES

NETWORK = (
    "dhcp_options",
    "dhcp_option_values",
    "egress_only_internet_gateways",
    "internet_gateways",
    "nat_gateways",
    "network_acl_associations",
    "network_acl_entries",
    "network_acls",
    "prefix_list_entries",
    "prefix_lists",
    "route_table_associations",
    "route_tables",
    "routes",
    "subnets",
    "vpc_cidr_blocks",
    "vpc_endpoint_groups",
    "vpc_endpoints",
    "vpc_peering_connections",
    "vpcs",
)


@pytest.fixture
def lose(database, world, life):
    def call(make):
        found = kept.lose(database, world.cloud, [world.host_id], make)
        kept.report(database, found)
        return found

    return call


@pytest.fixture
def adopt(run, world):
    return lambda resource_id: run(lost.adopt, world, resource_id)


def require_same(database, before, **unknown):
    """All rows of networks and instances are as before, and what hosts are sent as well."""
    gateways = {"nat_gateways": {"state", "state_changed"}, "usage_meters": {"began"}}
    ignored = {**TABLES, **dict.fromkeys(NETWORK, frozenset()), **gateways}
    ignored |= {"subnets": {"next_turn"}, "security_groups": set(), "security_group_rules": set()}
    with database.engine.connect() as connection:
        now = kept.rows_of(connection)
    for each in (before.rows, now):
        each["public_addresses"] = [row for row in each["public_addresses"] if row["released"] is None]
    assert kept.differences(before.rows, now, {k: v | unknown.get(k, set()) for k, v in ignored.items()}) == []


def vpc(tx, world, block="10.7.0.0/16", caller=None):
    """Make a VPC with a subnet, and return both ids."""
    caller = caller or world.one.caller
    request = create_vpc.VpcRequest(block, ipv6=False, tags={"Name": "lost"})
    made = create_vpc.create(tx, caller, world.cloud, request, NOW)
    return made.id, subnet(tx, world, made.id, block.replace("0.0/16", "1.0/24"), caller)


def subnet(tx, world, vpc_id, block, caller=None):
    request = create_subnet.SubnetRequest(vpc_id, block, tags={"tier": "web"})
    return create_subnet.create(tx, caller or world.one.caller, world.cloud, request, NOW).id


def table(tx, world, vpc_id, subnet_id, block, **target):
    """Give a subnet a route table with one route."""
    made = route_tables.create(tx, world.one.caller, vpc_id, {"Name": "table"}, NOW)
    route_table_associations.associate(tx, world.one.caller, made.id, subnet_id)
    routes.create(tx, world.one.caller, made.id, destination(block, None, None), TargetRequest(**target), now=NOW)
    return made.id


def once(name):
    return Repeatable(name, "", "")


def with_all_parts(tx, world):
    """Two subnets, gateways, options, an ACL and a group of their own."""
    caller = world.one.caller
    vpc_id, subnet_id = vpc(tx, world)
    second = subnet(tx, world, vpc_id, "10.7.2.0/24")
    gateway = internet_gateways.create(tx, caller, {"Name": "door"}, NOW).row
    internet_gateways.attach(tx, caller, gateway.id, vpc_id)
    egress_only_gateways.create(tx, caller, vpc_id, {}, NOW)
    table(tx, world, vpc_id, subnet_id, "0.0.0.0/0", gateway_id=gateway.id)
    subnet_attributes.modify_flag(tx, caller, second, "map_public_address", value=True)
    options = dhcp_options.create(tx, caller, [("domain-name", ["example.org"])], {}, NOW)
    dhcp_options.associate(tx, caller, options.id, vpc_id)
    network_acls.create(tx, caller, vpc_id, acl_tags={"Name": "wall"}, repeatable=once("CreateNetworkAcl"), now=NOW)
    group = security_groups.create(tx, caller, "web", "of the web", vpc_id, group_tags={"a": "b"}, now=NOW)
    return lost.launch(tx, world, subnet_id=subnet_id, group_ids=(group.id,))


def in_two_vpcs_that_are_peers(tx, world):
    one, subnet_id = vpc(tx, world)
    other, _ = vpc(tx, world, "10.8.0.0/16", world.other.caller)
    asked = vpc_peering_connections.Asked(one, other, world.other.caller.account_id)
    made = vpc_peering_connections.create(
        tx, world.one.caller, world.cloud, asked, tags_given={"Name": "bridge"}, now=NOW
    )
    vpc_peering_connections.accept(tx, world.other.caller, made.id, NOW)
    table(tx, world, one, subnet_id, "10.8.0.0/16", peering_id=made.id)
    return lost.launch(tx, world, subnet_id=subnet_id)


def behind_a_nat_gateway(tx, world):
    caller = world.one.caller
    vpc_id, subnet_id = vpc(tx, world)
    gateway = internet_gateways.create(tx, caller, {}, NOW).row
    internet_gateways.attach(tx, caller, gateway.id, vpc_id)
    request = nat_gateways.CreateRequest(
        subnet_id, allocation_id=lost.allocate(tx, world).id, tags={"natgateway": {"Name": "out"}}
    )
    nat = nat_gateways.create(tx, caller, request, NOW)
    inner = subnet(tx, world, vpc_id, "10.7.2.0/24")
    table(tx, world, vpc_id, inner, "0.0.0.0/0", nat_gateway_id=nat)
    return lost.launch(tx, world, subnet_id=inner)


def behind_an_appliance(tx, world):
    vpc_id, subnet_id = vpc(tx, world)
    appliance = lost.launch(tx, world, subnet_id=subnet_id)
    inner = subnet(tx, world, vpc_id, "10.7.2.0/24")
    table(tx, world, vpc_id, inner, "0.0.0.0/0", interface_id=lost.eni_of(tx, appliance))
    return lost.launch(tx, world, subnet_id=inner)


MADE = [with_all_parts, in_two_vpcs_that_are_peers, behind_a_nat_gateway, behind_an_appliance]


@pytest.mark.parametrize("make", MADE, ids=lambda each: each.__name__)
def test_an_instance_brings_its_network_back(database, world, lose, life, make):
    before = lose(lambda tx: make(tx, world))
    notes = life.run(lost.adopt, world, before.made)
    assert any(note.startswith("the VPC vpc-") for note in notes)
    require_same(database, before)
    parts = {key: each for key, each in before.hosts[world.host_id].resources.items() if key.kind in kept.REPORTED}
    now = life.wanted()[0]
    for key, had in parts.items():
        for each in (had, now[key.id]):
            each.revision = 0
        if key.kind not in {desired.KIND_MACHINE, desired.KIND_INTERFACE, desired.KIND_VOLUME}:
            assert now[key.id] == had, key
    assert {each.kind for each in life.run(unclaimed_resources.list_all)} <= {desired.KIND_BASE}


def test_a_subnet_that_was_made_in_a_known_vpc_comes_back(database, run, world, lose, adopt):
    vpc_id, known = run(vpc, world)

    def make(tx):
        return lost.launch(tx, world, subnet_id=subnet(tx, world, vpc_id, "10.7.2.0/24"))

    before = lose(make)
    notes = [note for note in adopt(before.made) if "was made again" in note]
    made = run(lambda tx: tx.session.scalar(select(Subnet.id).where(Subnet.vpc_id == vpc_id, Subnet.id != known)))
    assert notes == [f"the subnet {made} was made again"]
    require_same(database, before)


def test_a_second_instance_finds_the_network(database, run, world, lose, adopt):
    def make(tx):
        _, subnet_id = vpc(tx, world)
        return [lost.launch(tx, world, subnet_id=subnet_id) for _ in range(2)]

    before = lose(make)
    first, second = before.made
    adopt(second)
    assert [note for note in adopt(first) if "made again" in note] == []
    kept.report(database, before)  # it says so once more, before it knows of the adoption
    assert {each.kind for each in run(unclaimed_resources.list_all)} <= {desired.KIND_BASE}
    require_same(database, before)


def test_there_is_one_default_vpc(run, world, lose, adopt):
    def make(tx):
        made, subnet_id = vpc(tx, world)
        tx.session.get_one(Vpc, world.one.vpc_id).is_default = False
        tx.session.get_one(Vpc, made).is_default = True
        notify_topology.vpc(tx, made)
        return made, lost.launch(tx, world, subnet_id=subnet_id)

    run(lambda tx: setattr(tx.session.get_one(Vpc, world.one.vpc_id), "is_default", True))
    made, instance_id = lose(make).made
    assert f"{made} is not the default VPC any more: there is another one" in adopt(instance_id)
    assert run(lambda tx: tx.session.get_one(Vpc, made).is_default) is False


def test_a_vpc_with_only_a_nat_gateway_is_adopted_by_itself(database, run, world, lose, adopt):
    def make(tx):
        vpc_id, subnet_id = vpc(tx, world)
        return vpc_id, nat_gateways.create(
            tx, world.one.caller, nat_gateways.CreateRequest(subnet_id, connectivity="private"), NOW
        )

    before = lose(make)
    vpc_id, nat = before.made
    with pytest.raises(InvalidParameter, match="goes by itself"):
        run(unclaimed_resources.remove, [vpc_id])
    adopt(nat)
    require_same(database, before)


def test_an_account_that_is_not_known_is_made_again(run, world, lose, adopt):
    def make(tx):
        tx.session.add(Account(id="444455556666", name="newcomer", created=NOW))
        tx.session.flush()
        tx.session.get_one(Image, world.image_id).public = True
        caller = replace(world.one.caller, account_id="444455556666")
        _, subnet_id = vpc(tx, world, caller=caller)
        return lost.launch(tx, replace(world, one=replace(world.one, caller=caller)), subnet_id=subnet_id)

    before = lose(make)
    assert any(note.startswith("the account 444455556666 (newcomer) was made again") for note in adopt(before.made))
    assert run(lambda tx: tx.session.get_one(Account, "444455556666").created) == NOW


# -- refused


def rows_in(before, kind):
    """Return the message of the only part of a kind that is unclaimed, and its rows."""
    [found] = [
        each
        for wanted in before.hosts.values()
        for key, each in wanted.resources.items()
        if key.kind == kind and key in wanted.unclaimed
    ]
    body = getattr(found, found.WhichOneof("body"))
    return body, json.loads(body.rows)


def change(table, column, value, kind=desired.KIND_SUBNET):
    def call(before):
        body, rows = rows_in(before, kind)
        place = rows[table]["columns"].index(column)
        for row in rows[table]["rows"]:
            row[place] = value
        body.rows = json.dumps(rows).encode()

    return call


def without(column):
    def call(before):
        body, rows = rows_in(before, desired.KIND_SUBNET)
        place = rows["subnets"]["columns"].index(column)
        del rows["subnets"]["columns"][place]
        for row in rows["subnets"]["rows"]:
            del row[place]
        body.rows = json.dumps(rows).encode()

    return call


def spoil(content):
    def call(before):
        rows_in(before, desired.KIND_SUBNET)[0].rows = content

    return call


REFUSED = [
    (change("subnets", "account_id", "222222222222"), "belongs to others"),
    (change("subnets", "vpc_id", "vpc-00000000000000000"), "belongs to others"),
    (change("tags", "resource_id", "vpc-00000000000000000"), "belongs to others"),
    (change("vpcs", "dns_support", False, desired.KIND_VPC), "would change it on its host .dns_support"),
    (without("zone"), "cannot be made again: its host does not know zone"),
    (spoil(b"{"), "cannot be read"),
    (spoil(b"[1]"), "cannot be read"),
    (spoil(b""), "does not know enough of subnet-.*, as the controller of an earlier release told it less"),
]


@pytest.mark.parametrize(("spoil_it", "words"), REFUSED)
def test_what_would_not_be_as_it_was_is_refused(database, world, life, spoil_it, words):
    def make(tx):
        _, subnet_id = vpc(tx, world)
        return lost.launch(tx, world, subnet_id=subnet_id)

    before = kept.lose(database, world.cloud, [world.host_id], make)
    spoil_it(before)
    kept.report(database, before)
    with pytest.raises(WrongState, match=words):
        life.run(lost.adopt, world, before.made)
    assert life.run(lambda tx: tx.session.scalar(select(Vpc.id).where(Vpc.cidr_block == "10.7.0.0/16"))) is None


def test_a_number_that_another_vpc_has_by_now_is_in_the_way(run, world, lose):
    before = lose(lambda tx: with_all_parts(tx, world))
    number = next(
        each.vpc.vni
        for key, each in before.hosts[world.host_id].resources.items()
        if key.id.startswith("vpc-")
        and key in before.hosts[world.host_id].unclaimed
        and each.vpc.cidr_blocks[0] == "10.7.0.0/16"
    )
    run(lambda tx: setattr(tx.session.get_one(Vpc, world.other.vpc_id), "vni", number))
    with pytest.raises(WrongState, match="another one has its place"):
        run(lost.adopt, world, before.made)
