"""VPC endpoints, flow logs and customers' prefix lists that were made after the copy come back with their VPC."""

import json

import pytest
from sqlalchemy import select

from stead_controller.db.tables import NatGateway, Tag, VpcEndpoint, VpcEndpointInterface
from stead_controller.desired import desired_state
from stead_controller.errors import WrongState
from stead_controller.hosts.reports import apply_progress
from stead_controller.request.route_destinations import read as destination
from stead_controller.request.route_target import TargetRequest
from stead_controller.resources import tags
from stead_controller.resources.network import (
    flow_logs,
    nat_gateways,
    prefix_lists,
    route_table_associations,
    route_tables,
    routes,
    security_group_rules,
    security_groups,
    vpc_endpoint_services,
    vpc_endpoints,
)
from stead_controller.resources.network.permissions import Permission, PrefixListReference
from stead_controller.resources.operators import unclaimed_resources
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import kept
from tests.support.rows import CLOUD, NOW
from tests.unit.controller.resources.operators import lost_changes as lost
from tests.unit.controller.resources.operators.lost_changes import without_rows
from tests.unit.controller.resources.operators.test_adopted_vpcs import once, require_same, table, vpc

ENDPOINTS = {
    "flow_logs": set(),
    "vpc_endpoint_interfaces": set(),
}


@pytest.fixture
def lose(database, world, life):
    def call(make, change=lambda _before: None):
        found = kept.lose(database, world.cloud, [world.host_id], make)
        change(found)
        kept.report(database, found)
        return found

    return call


@pytest.fixture
def adopt(run, world):
    return lambda resource_id: run(lost.adopt, world, resource_id)


@pytest.fixture
def refused(database, run, world):
    """Try to adopt something: it is refused in these words, and nothing has changed."""

    def everything():
        with database.engine.connect() as connection:
            return kept.rows_of(connection)

    def call(resource_id, words):
        before = everything()
        with pytest.raises(WrongState, match=words):
            run(lost.adopt, world, resource_id)
        assert everything() == before

    return call


def endpoint(tx, world, vpc_id, service="ec2", **asked):
    request = vpc_endpoints.CreateRequest(vpc_id, f"com.amazonaws.{CLOUD.region}.{service}", **asked)
    return vpc_endpoints.create(
        tx, world.one.caller, world.cloud, request, repeatable=once("CreateVpcEndpoint"), now=NOW
    )


def plug_of(tx, endpoint_id):
    mine = VpcEndpointInterface.endpoint_id == endpoint_id
    return tx.session.scalars(select(VpcEndpointInterface.interface_id).where(mine)).one()


def plugged(tx, world, vpc_id, subnet_id, *, ready=True, **asked):
    """Make an interface endpoint, which its host has, and return its id."""
    made = endpoint(
        tx, world, vpc_id, endpoint_type=vpc_endpoint_services.INTERFACE, subnets={subnet_id: None}, **asked
    )
    if ready:
        report(tx, world, plug_of(tx, made))
    return made


def report(tx, world, interface_id):
    kind = desired.KIND_ENDPOINT_INTERFACE
    status = pb.ResourceStatus(kind=kind, id=interface_id, condition=pb.CONDITION_READY, revision=lost.FAR)
    apply_progress(tx, [(world.host_id, [status])], NOW)


def list_of(tx, world, *blocks, name="offices"):
    asked = prefix_lists.NewList(
        name, "IPv4", 5, tuple(prefix_lists.Entry(each, f"office {each}") for each in blocks), {"Name": name}
    )
    return prefix_lists.create(tx, world.one.caller, asked, repeatable=once("CreateManagedPrefixList"), now=NOW)


def logged(tx, world, kind, resource_id, **asked):
    asked = flow_logs.Asked((resource_id,), kind, "ALL", f"logs/{kind}", tags={"of": kind}, **asked)
    [made] = flow_logs.create(tx, world.one.caller, asked, repeatable=once("CreateFlowLogs"), now=NOW).flow_log_ids
    return made


def with_an_interface_endpoint(tx, world):
    vpc_id, subnet_id = vpc(tx, world)
    group = security_groups.create(tx, world.one.caller, "plugs", "of endpoints", vpc_id, group_tags={}, now=NOW)
    given = {"vpc-endpoint": {"Name": "api"}}
    made = plugged(tx, world, vpc_id, subnet_id, group_ids=(group.id,), policy=POLICY, tags=given)
    tags.create_tags(tx, world.one.caller, [plug_of(tx, made)], {"Name": "plug"}, NOW)
    desired_state.refresh_endpoint_interface(tx, plug_of(tx, made))
    return lost.launch(tx, world, subnet_id=subnet_id)


def with_a_gateway_endpoint(tx, world):
    vpc_id, subnet_id = vpc(tx, world)
    inner = route_tables.create(tx, world.one.caller, vpc_id, {}, NOW).id
    route_table_associations.associate(tx, world.one.caller, inner, subnet_id)
    endpoint(tx, world, vpc_id, "s3", route_table_ids=(inner,), tags={"vpc-endpoint": {"Name": "files"}})
    return lost.launch(tx, world, subnet_id=subnet_id)


def with_flow_logs(tx, world):
    vpc_id, subnet_id = vpc(tx, world)
    made = lost.launch(tx, world, subnet_id=subnet_id)
    logged(tx, world, "VPC", vpc_id)
    logged(tx, world, "Subnet", subnet_id, aggregation_seconds=60)
    logged(tx, world, "NetworkInterface", lost.eni_of(tx, made), log_format="${srcaddr} ${dstaddr}")
    return made


def with_prefix_lists(tx, world):
    """One list of two versions in a route, and one in a rule."""
    vpc_id, subnet_id = vpc(tx, world)
    made = lost.launch(tx, world, subnet_id=subnet_id)
    known = table(tx, world, vpc_id, subnet_id, "192.0.2.0/24", interface_id=lost.eni_of(tx, made))
    listed = list_of(tx, world, "198.51.100.0/24", "203.0.113.0/25")
    route_to(tx, world, known, listed, made)
    change = prefix_lists.Change(1, add=(prefix_lists.Entry("203.0.113.128/25"),), remove=("198.51.100.0/24",))
    prefix_lists.modify(tx, world.one.caller, listed, change)
    group = security_groups.create(tx, world.one.caller, "web", "of the web", vpc_id, group_tags={}, now=NOW)
    allow(tx, world, group.id, list_of(tx, world, "192.0.2.0/25", name="guests"))
    return made


def route_to(tx, world, table_id, list_id, instance_id):
    target = TargetRequest(interface_id=lost.eni_of(tx, instance_id))
    routes.create(tx, world.one.caller, table_id, destination(None, None, list_id), target, now=NOW)


def allow(tx, world, group_id, list_id):
    permission = Permission("tcp", 443, 443, prefix_lists=(PrefixListReference(list_id),))
    name = security_group_rules.GroupName(group_id, None)
    security_group_rules.authorize(tx, world.one.caller, name, [permission], egress=False, rule_tags={})


POLICY = '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ec2:Describe*", "Resource": "*"}]}'


@pytest.fixture
def come_back(database, run, world, lose):
    """Return a function that loses what a function makes, adopts it, and finds it as it was."""

    def call(make):
        before = lose(lambda tx: make(tx, world))
        run(lost.adopt, world, before.made)
        require_same(database, before, **ENDPOINTS)
        assert {each.kind for each in run(unclaimed_resources.list_all)} <= {desired.KIND_BASE}

    return call


MADE = [with_an_interface_endpoint, with_a_gateway_endpoint, with_flow_logs, with_prefix_lists]


@pytest.mark.parametrize("make", MADE, ids=lambda each: each.__name__)
def test_an_instance_brings_them_back(come_back, make):
    come_back(make)


def in_a_nat_gateway(tx, world):
    """A NAT gateway and its interface, which have tags."""
    vpc_id, subnet_id = vpc(tx, world)
    request = nat_gateways.CreateRequest(subnet_id, connectivity="private", tags={"natgateway": {"Name": "out"}})
    nat = nat_gateways.create(tx, world.one.caller, request, NOW)
    interface_id = tx.session.get_one(NatGateway, nat).interface_id
    tags.create_tags(tx, world.one.caller, [interface_id], {"Name": "of a gateway"}, NOW)
    desired_state.refresh_nat_gateway(tx, nat)
    return vpc_id, nat


@pytest.mark.parametrize("by", [0, 1], ids=["by its VPC", "by itself"])
def test_a_nat_gateways_interface_has_its_tags_again(database, world, lose, adopt, by):
    before = lose(lambda tx: in_a_nat_gateway(tx, world))
    adopt(before.made[by])
    require_same(database, before)


@pytest.mark.parametrize("by", [0, 1], ids=["by its VPC", "by its interface"])
def test_a_vpc_with_only_an_interface_endpoint_is_adopted_by_itself(database, world, lose, adopt, by):
    def make(tx):
        vpc_id, subnet_id = vpc(tx, world)
        return vpc_id, plug_of(tx, plugged(tx, world, vpc_id, subnet_id))

    before = lose(make)
    adopt(before.made[by])
    require_same(database, before, **ENDPOINTS)


def test_an_endpoint_that_was_not_ready_yet_is_pending_until_its_host_reports_it(database, run, world, lose, adopt):
    def make(tx):
        plugged(tx, world, *vpc(tx, world))  # another one, which is ready and has the same address
        vpc_id, subnet_id = vpc(tx, world)
        return plugged(tx, world, vpc_id, subnet_id, ready=False), vpc_id

    before = lose(make)
    endpoint_id, vpc_id = before.made
    plug = next(row["interface_id"] for row in before.rows["vpc_endpoint_interfaces"] if row["state"] == "pending")
    adopt(vpc_id)

    def states(tx):
        rows = (tx.session.get_one(VpcEndpoint, endpoint_id), tx.session.get_one(VpcEndpointInterface, plug))
        return [each.state for each in rows]

    assert run(states) == ["pending"] * 2
    run(report, world, plug)
    assert run(states) == ["available"] * 2


def test_of_a_prefix_list_that_is_known_the_databases_word_counts(database, run, world, lose, refused):
    """Else an entry of a newer version would stand in the older one, which other VPCs use."""
    listed = run(list_of, world, "198.51.100.0/24")

    def make(tx):
        made = with_prefix_lists_of(tx, world, listed)
        change = prefix_lists.Change(1, add=(prefix_lists.Entry("203.0.113.0/24"),))
        prefix_lists.modify(tx, world.one.caller, listed, change)
        return made

    refused(lose(make).made, "would change it on its host .routes")


def test_a_route_to_a_prefix_list_that_is_known_comes_back(database, run, world, lose, adopt):
    listed = run(list_of, world, "198.51.100.0/24")
    before = lose(lambda tx: with_prefix_lists_of(tx, world, listed))
    run(lambda tx: tags.delete_tags(tx, world.one.caller, [listed], None, NOW))
    adopt(before.made)
    assert run(lambda tx: tx.session.scalar(select(Tag.key).where(Tag.resource_id == listed))) is None


def with_prefix_lists_of(tx, world, list_id):
    vpc_id, subnet_id = vpc(tx, world)
    made = lost.launch(tx, world, subnet_id=subnet_id)
    target = {"interface_id": lost.eni_of(tx, made)}
    route_to(tx, world, table(tx, world, vpc_id, subnet_id, "192.0.2.0/24", **target), list_id, made)
    return made


# -- refused


def in_rows(kind, table_name, column, value):
    """Return a change of a value in the rows that a host keeps of the only unclaimed part of a kind."""

    def call(before):
        for wanted in before.hosts.values():
            for key in wanted.unclaimed:
                if key.kind == kind:
                    each = wanted.resources[key]
                    spoil(getattr(each, each.WhichOneof("body")), table_name, column, value)

    return call


def spoil(body, table_name, column, value):
    rows = json.loads(body.rows)
    if table_name in rows:
        place = rows[table_name]["columns"].index(column)
        for row in rows[table_name]["rows"]:
            row[place] = value
    body.rows = json.dumps(rows).encode()


PLUG, ENDPOINT, ROUTES = desired.KIND_ENDPOINT_INTERFACE, desired.KIND_VPC_ENDPOINT, desired.KIND_ROUTE_TABLE
LOG, GROUP = desired.KIND_FLOW_LOG, desired.KIND_SECURITY_GROUP
OTHER, GONE = "222222222222", "vpce-00000000000000000"
REFUSED = [  # what to make, what to change of it, and the words of the refusal
    (with_an_interface_endpoint, in_rows(ENDPOINT, "vpc_endpoints", "account_id", OTHER), "belongs to others"),
    (with_an_interface_endpoint, in_rows(ENDPOINT, "vpc_endpoint_groups", "endpoint_id", GONE), "belongs to others"),
    (with_an_interface_endpoint, in_rows(ENDPOINT, "vpc_endpoint_groups", "group_id", "sg-0"), "refers to what is not"),
    (with_an_interface_endpoint, in_rows(PLUG, "vpc_endpoint_interfaces", "endpoint_id", GONE), "is not known, or it"),
    (with_an_interface_endpoint, in_rows(PLUG, "vpc_endpoint_interfaces", "interface_id", "eni-0"), "belongs to othe"),
    (with_an_interface_endpoint, in_rows(PLUG, "vpc_endpoint_interfaces", "subnet_id", "subnet-0"), "belongs to othe"),
    (with_an_interface_endpoint, in_rows(PLUG, "network_interfaces", "account_id", OTHER), "belongs to others"),
    (with_an_interface_endpoint, in_rows(PLUG, "network_interfaces", "vpc_id", "vpc-0"), "belongs to others"),
    (with_an_interface_endpoint, in_rows(PLUG, "vpc_endpoint_interfaces", "zone", "us-east-1b"), "interface_names"),
    (with_an_interface_endpoint, without_rows(PLUG), "does not know enough of"),
    (with_a_gateway_endpoint, in_rows(ENDPOINT, "vpc_endpoints", "vpc_id", "vpc-0"), "belongs to others"),
    (with_flow_logs, in_rows(LOG, "flow_logs", "account_id", OTHER), "belongs to others"),
    (with_flow_logs, in_rows(LOG, "flow_logs", "vpc_id", "vpc-0"), "belongs to others"),
    (with_flow_logs, in_rows(LOG, "flow_logs", "traffic_type", "ACCEPT"), "would change it on its host .rejected"),
    (with_prefix_lists, in_rows(ROUTES, "prefix_lists", "account_id", OTHER), "belongs to others"),
    (with_prefix_lists, in_rows(ROUTES, "prefix_list_entries", "prefix_list_id", "pl-0"), "belongs to others"),
    (
        with_prefix_lists,
        in_rows(ROUTES, "prefix_list_entries", "last_version", 1),
        "would change it on its host .routes",
    ),
    (with_prefix_lists, in_rows(GROUP, "prefix_lists", "account_id", OTHER), "belongs to others"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda each: f"{each[0].__name__}: {each[2]}")
def test_what_would_not_be_as_it_was_is_refused(world, lose, refused, case):
    make, change, words = case
    refused(lose(lambda tx: make(tx, world), change).made, words)


def test_an_endpoint_of_another_vpc_is_not_given_an_interface(database, run, world, lose, refused):
    known = run(lambda tx: endpoint(tx, world, world.one.vpc_id, "s3"))
    change = in_rows(PLUG, "vpc_endpoint_interfaces", "endpoint_id", known)
    refused(lose(lambda tx: with_an_interface_endpoint(tx, world), change).made, "is not known, or it")


@pytest.mark.parametrize("case", [("account_id", OTHER), ("resource_id", GONE)], ids=["account", "resource"])
def test_a_tag_of_others_is_not_taken(run, world, lose, case):
    change = in_rows(PLUG, "tags", *case)
    before = lose(lambda tx: with_an_interface_endpoint(tx, world), change)
    run(lost.adopt, world, before.made)
    assert run(lambda tx: tx.session.scalar(select(Tag.key).where(Tag.value == "plug"))) is None
