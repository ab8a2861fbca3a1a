"""What a request's permissions name: groups that may be referred to, prefix lists, and each rule once."""

import pytest

from stead_controller.catalog import ids
from stead_controller.db.tables import SecurityGroup, VpcPeeringConnection
from stead_controller.errors import InvalidParameter, MalformedId, MissingParameter, NotFound
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.network import create_vpc, prefix_lists, rule_peers
from stead_controller.resources.network.permissions import (
    Block,
    GroupReference,
    Permission,
    PrefixListReference,
    Reached,
)
from tests.support import rows
from tests.support.rows import CLOUD, NOW

PEERING = "pcx-00000000000000001"


def allowing(*groups, blocks=(), lists=()):
    return Permission("tcp", 22, 22, tuple(map(Block, blocks)), groups=groups, prefix_lists=lists)


@pytest.fixture
def rules_of(world, run):
    """The rules that the first tenant's permissions name for its default group."""

    def call(*permissions, known_peers=()):
        def read(tx):
            group = tx.session.get_one(SecurityGroup, world.one.group_id)
            return rule_peers.rules_of(tx, world.one.caller, group, permissions, known_peers=known_peers)

        return run(read)

    return call


def add_group(run, tenant, name, vpc_id=None):
    group_id = ids.new_id("security-group")
    values = {"account_id": tenant.caller.account_id, "vpc_id": vpc_id or tenant.vpc_id, "created": NOW}
    run(lambda tx: tx.session.add(SecurityGroup(id=group_id, name=name, description=name, **values)))
    return group_id


@pytest.fixture
def second_vpc(world, run):
    """Another VPC of the first tenant."""
    return run(lambda tx: create_vpc.add(tx, CLOUD, world.one.caller.account_id, "10.9.0.0/16", NOW).id)


@pytest.fixture
def peer_with(world, run):
    """Add a peering connection of the first tenant's default VPC, active unless another state is asked for."""

    def call(tenant, vpc_id, status="active"):
        row = VpcPeeringConnection(
            id=PEERING,
            account_id=tenant.caller.account_id,
            accepter_account_id=world.one.caller.account_id,
            requester_vpc_id=vpc_id,
            accepter_vpc_id=world.one.vpc_id,
            status=status,
            message=status,
            created=NOW,
        )
        run(lambda tx: tx.session.add(row))

    return call


def test_each_peer_is_a_rule_with_its_description(world, run, rules_of):
    once = Repeatable("CreateManagedPrefixList", "", "")
    asked = prefix_lists.NewList("n", "IPv4", 5)
    list_id = run(prefix_lists.create, world.one.caller, asked, repeatable=once, now=NOW)
    group = GroupReference(world.one.group_id, description="us")
    found = rules_of(allowing(group, blocks=["10.0.0.1/8"]), allowing(lists=(PrefixListReference(list_id, "them"),)))
    assert [(one.cidr_ipv4, one.peer_group_id, one.prefix_list_id, one.description) for one in found] == [
        ("10.0.0.0/8", None, None, None),
        (None, world.one.group_id, None, "us"),
        (None, None, list_id, "them"),
    ]
    assert {(one.protocol, one.from_port, one.to_port) for one in found} == {("tcp", 22, 22)}
    with pytest.raises(InvalidParameter, match="description"):
        rules_of(allowing(lists=(PrefixListReference(list_id, "<>"),)))


def test_a_request_names_something(rules_of):
    with pytest.raises(MissingParameter, match="ipPermissions"):
        rules_of()
    with pytest.raises(InvalidParameter) as refusal:
        rules_of(allowing(blocks=["10.0.0.0/8"]), allowing())
    assert refusal.value.code == "InvalidPermission.Malformed"
    with pytest.raises(MissingParameter, match="groupId"):
        rules_of(allowing(GroupReference()))


def test_a_thousand_permissions_may_be_given_at_once(rules_of):
    permissions = [allowing(blocks=[f"10.{number >> 8}.{number & 255}.0/24"]) for number in range(1001)]
    assert len(rules_of(*permissions[:1000])) == 1000
    with pytest.raises(InvalidParameter, match="At most 1000"):
        rules_of(*permissions)


def test_the_same_rule_is_named_once_whatever_its_spelling_and_description(rules_of):
    described = Permission("6", 22, 22, (Block("10.1.2.3/8", "ten"),))
    with pytest.raises(InvalidParameter, match="must not appear multiple times"):
        rules_of(allowing(blocks=["10.0.0.0/8"]), described)


@pytest.mark.parametrize("reference", [GroupReference(description="<>"), GroupReference("sg-x")])
def test_a_bad_reference_is_refused(world, rules_of, reference):
    with pytest.raises((InvalidParameter, MalformedId)):
        rules_of(allowing(reference))


def test_a_group_is_found_by_its_name_in_the_same_vpc_of_its_account(world, run, rules_of, second_vpc):
    web = add_group(run, world.one, "web")
    add_group(run, world.one, "web", second_vpc)
    add_group(run, world.one, "far", second_vpc)
    add_group(run, world.other, "theirs")
    (rule,) = rules_of(allowing(GroupReference(group_name="web")))
    assert rule.peer_group_id == web
    for name in ("far", "theirs", "nobody"):
        with pytest.raises(NotFound):
            rules_of(allowing(GroupReference(group_name=name)))


def test_a_group_may_be_named_with_its_account_and_vpc(world, rules_of):
    one = world.one
    reference = GroupReference(one.group_id, user_id=one.caller.account_id, vpc_id=one.vpc_id)
    (rule,) = rules_of(allowing(reference))
    assert (rule.peer_group_id, rule.reached) == (one.group_id, None)
    for wrong in ({"user_id": world.other.caller.account_id}, {"vpc_id": world.other.vpc_id}, {"peering_id": PEERING}):
        with pytest.raises(NotFound) as refusal:
            rules_of(allowing(GroupReference(one.group_id, **wrong)))
        assert refusal.value.missing == [wrong.get("peering_id", one.group_id)]


def test_groups_that_a_rule_has_already_are_taken_as_they_are(rules_of):
    gone = ids.new_id("security-group")
    with pytest.raises(NotFound):
        rules_of(allowing(GroupReference(gone)))
    (rule,) = rules_of(allowing(GroupReference(gone)), known_peers={gone})
    assert rule.peer_group_id == gone


def test_an_own_group_of_another_vpc_needs_a_peering(world, run, rules_of, second_vpc, peer_with):
    far = add_group(run, world.one, "far", second_vpc)
    with pytest.raises(InvalidParameter, match="different networks") as refusal:
        rules_of(allowing(GroupReference(far)))
    assert refusal.value.code == "InvalidGroup.NotFound"
    peer_with(world.one, second_vpc)
    for asked in ({}, {"peering_id": PEERING}, {"vpc_id": second_vpc}):
        (rule,) = rules_of(allowing(GroupReference(far, **asked)))
        assert (rule.peer_group_id, rule.reached) == (far, Reached(None, second_vpc, PEERING))


def test_a_group_of_another_account_is_found_only_behind_an_active_peering_by_its_account(
    world, run, rules_of, peer_with
):
    theirs, owner = world.other.group_id, world.other.caller.account_id
    with pytest.raises(NotFound) as refusal:
        rules_of(allowing(GroupReference(theirs, user_id=owner)))
    assert refusal.value.missing == [theirs]
    peer_with(world.other, world.other.vpc_id)
    (rule,) = rules_of(allowing(GroupReference(theirs, user_id=owner)))
    assert rule.reached == Reached(owner, world.other.vpc_id, PEERING)
    absent = "pcx-00000000000000002"
    for wrong in ({}, {"user_id": owner, "peering_id": absent}, {"user_id": owner, "vpc_id": world.one.vpc_id}):
        with pytest.raises(NotFound) as refusal:
            rules_of(allowing(GroupReference(theirs, **wrong)))
        assert refusal.value.missing == [wrong.get("peering_id", theirs)]


def test_a_peering_that_is_not_accepted_leads_nowhere(world, rules_of, peer_with):
    peer_with(world.other, world.other.vpc_id, "pending-acceptance")
    with pytest.raises(NotFound):
        rules_of(allowing(GroupReference(world.other.group_id, user_id=world.other.caller.account_id)))


def test_a_row_is_what_it_allows(world, run):
    group = run(lambda tx: tx.session.get_one(SecurityGroup, world.one.group_id))
    peered = {"peer_group_id": "sg-1", "peer_vpc_id": "vpc-1", "peer_account_id": "1", "peering_id": PEERING}
    found = rule_peers.of_row(rows.rule(group, protocol="tcp", from_port=1, to_port=2, description="d", **peered))
    assert (found.protocol, found.from_port, found.to_port, found.description) == ("tcp", 1, 2, None)
    assert found.reached == Reached("1", "vpc-1", PEERING)
    assert rule_peers.of_row(rows.rule(group, peer_group_id="sg-1")).reached is None
