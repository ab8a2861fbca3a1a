"""Rules of security groups in their transaction: all or none, for their group and direction, sent to hosts."""

import pytest
from sqlalchemy import select, update

from stead_controller.catalog import ids
from stead_controller.db.tables import SecurityGroup, SecurityGroupRule, Tag, Vpc, VpcPeeringConnection, VpcResource
from stead_controller.errors import AlreadyExists, LimitExceeded, MalformedId, NotFound
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources import quotas
from stead_controller.resources.network import prefix_lists, security_group_rules, security_groups
from stead_controller.resources.network.permissions import (
    Block,
    GroupReference,
    Permission,
    PrefixListReference,
    Reached,
)
from stead_controller.resources.network.rule_peers import of_row
from stead_controller.resources.network.security_group_rules import GroupName
from stead_proto.v1 import desired_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW


def tcp(port, *cidrs, ipv6=(), **peers):
    """A permission for one port of TCP."""
    return Permission("tcp", port, port, tuple(map(Block, cidrs)), tuple(map(Block, ipv6)), **peers)


PEERING = "pcx-00000000000000001"
SSH, WEB = tcp(22, "10.0.0.0/8"), tcp(80, "10.0.0.0/8")


@pytest.fixture
def allow(world, run):
    """Add rules to the first tenant's default group, and give their ids."""

    def call(*permissions, egress=False, tags=None):
        def authorize(tx):
            name = GroupName(world.one.group_id)
            caller = world.one.caller
            made = security_group_rules.authorize(tx, caller, name, permissions, egress=egress, rule_tags=tags or {})
            return [row.id for row in made]

        return run(authorize)

    return call


@pytest.fixture
def revoke(world, run):
    """Remove rules of the first tenant's default group; gives how many are gone, and what it had not."""

    def call(*permissions, egress=False):
        def act(tx):
            name = GroupName(world.one.group_id)
            gone = security_group_rules.revoke(tx, world.one.caller, name, permissions, egress=egress)
            return len(gone.rules), [(row.from_port, row.egress) for row in gone.unknown]

        return run(act)

    return call


@pytest.fixture
def revoke_by_id(world, run):
    def call(*rule_ids, egress=False, group_id=world.one.group_id):
        def act(tx):
            found = security_group_rules.revoke_by_id(
                tx, world.one.caller, GroupName(group_id), rule_ids, egress=egress
            )
            return [row.id for row in found]

        return run(act)

    return call


@pytest.fixture
def ports(world, run):
    """The rules of a group of one direction by their first port, -1 for all: as the database has them."""

    def call(egress=False, group_id=world.one.group_id):
        def query(tx):
            rule = SecurityGroupRule
            wanted = select(rule.from_port).where(rule.group_id == group_id, rule.egress.is_(egress))
            return sorted(tx.session.scalars(wanted))

        return run(query)

    return call


@pytest.fixture
def sent(world, run):
    """The first ports of a group's rules of both directions as hosts are sent them."""

    def call(group_id=world.one.group_id):
        query = select(VpcResource.body).where(
            VpcResource.resource_id == group_id, VpcResource.kind == pb.KIND_SECURITY_GROUP
        )
        body = run(lambda tx: tx.session.scalars(query).one())
        return sorted(rule.from_port for rule in pb.Resource.FromString(body).security_group.rules)

    return call


def new_group(run, tenant, name):
    def create(tx):
        return security_groups.create(tx, tenant.caller, name, name, tenant.vpc_id, group_tags={}, now=NOW).id

    return run(create)


def make_vpc_ordinary(run, tenant):
    run(lambda tx: tx.session.execute(update(Vpc).where(Vpc.id == tenant.vpc_id).values(is_default=False)))


def test_a_rule_is_of_its_direction_and_hosts_are_notified(allow, revoke, ports, sent):
    allow(SSH)
    allow(WEB, egress=True)
    assert (ports(), ports(egress=True)) == ([-1, 22], [-1, 80])
    assert sent() == [-1, -1, 22, 80]
    assert revoke(SSH) == (1, [])
    assert revoke(WEB, egress=True) == (1, [])
    assert (ports(), ports(egress=True)) == ([-1], [-1])
    assert sent() == [-1, -1]


def test_what_is_allowed_inwards_may_be_allowed_outwards_too(allow, ports):
    allow(SSH)
    allow(SSH, egress=True)
    assert (ports(), ports(egress=True)) == ([-1, 22], [-1, 22])


def test_what_a_group_has_it_is_not_given_again(allow, ports):
    allow(SSH)
    described = Permission("tcp", 22, 22, (Block("10.0.0.0/8", "the same in other words"),))
    with pytest.raises(AlreadyExists, match="TCP, from port: 22, to port: 22, ALLOW"):
        allow(WEB, described)
    assert ports() == [-1, 22]


def test_what_another_group_has_counts_for_it_alone(world, run, allow, ports):
    web = new_group(run, world.one, "web")

    def authorize(tx):
        security_group_rules.authorize(tx, world.one.caller, GroupName(web), [SSH], egress=False, rule_tags={})

    run(authorize)
    allow(SSH)
    assert (ports(), ports(group_id=web)) == ([-1, 22], [22])


def test_what_a_default_vpcs_group_has_not_is_named_and_the_rest_revoked(allow, revoke, ports, sent):
    allow(SSH)
    assert revoke(SSH, WEB) == (1, [(80, False)])
    assert revoke(WEB, egress=True) == (0, [(80, True)])
    assert (ports(), sent()) == ([-1], [-1, -1])


def test_an_ordinary_vpcs_group_is_revoked_all_or_nothing(world, run, allow, revoke, ports):
    allow(SSH)
    make_vpc_ordinary(run, world.one)
    with pytest.raises(NotFound) as refusal:
        revoke(SSH, WEB)
    assert refusal.value.code == "InvalidPermission.NotFound"
    assert refusal.value.missing == ["peer: 10.0.0.0/8, TCP, from port: 80, to port: 80, ALLOW"]
    assert ports() == [-1, 22]
    assert revoke(SSH) == (1, [])


def test_a_rule_is_revoked_whatever_its_description(allow, revoke):
    allow(SSH)
    assert revoke(Permission("tcp", 22, 22, (Block("10.0.0.0/8", "ssh"),))) == (1, [])


def test_a_rule_is_revoked_by_the_name_of_the_group_it_refers_to(world, allow, revoke):
    allow(SSH, tcp(22, groups=(GroupReference(world.one.group_id),)))
    assert revoke(tcp(22, groups=(GroupReference(group_name="default"),))) == (1, [])


def test_rules_and_their_tags_go_by_id(run, allow, revoke_by_id, ports, sent):
    first, second = allow(SSH, WEB, tags={"why": "test"})
    tagged = select(Tag.resource_id).where(Tag.resource_type == "security-group-rule")
    assert run(lambda tx: sorted(tx.session.scalars(tagged))) == sorted([first, second])
    assert revoke_by_id(first, first) == [first]
    assert (ports(), sent()) == ([-1, 80], [-1, -1, 80])
    assert run(lambda tx: list(tx.session.scalars(tagged))) == [second]


def test_by_id_all_must_be_rules_of_the_group_and_direction(world, run, allow, revoke_by_id, unchanged):
    web = new_group(run, world.one, "web")
    (inwards,) = allow(SSH)
    (outwards,) = allow(SSH, egress=True)
    absent = ids.new_id("security-group-rule")
    unchanged()
    for asked, missing in (([inwards, absent], [absent]), ([inwards, outwards], [outwards])):
        with pytest.raises(NotFound) as refusal:
            revoke_by_id(*asked)
        assert refusal.value.missing == missing
    with pytest.raises(NotFound):
        revoke_by_id(inwards, egress=True)
    with pytest.raises(NotFound):
        revoke_by_id(inwards, group_id=web)
    with pytest.raises(MalformedId):
        revoke_by_id("sgr-1")
    unchanged()


@pytest.fixture
def modify(world, run):
    def call(changes):
        run(security_group_rules.modify, world.one.caller, world.one.group_id, changes)

    return call


def test_modified_rules_have_the_same_ids_and_direction(allow, modify, ports, sent):
    (inwards,) = allow(SSH)
    (outwards,) = allow(SSH, egress=True)
    modify({inwards: tcp(23, "10.0.0.0/8"), outwards: tcp(24, "10.0.0.0/8")})
    assert (ports(), ports(egress=True)) == ([-1, 23], [-1, 24])
    assert sent() == [-1, -1, 23, 24]


def test_modified_rules_may_change_places_but_not_take_anothers(run, allow, modify, unchanged):
    first, second = allow(SSH, WEB)
    modify({first: WEB, second: SSH})
    found = run(lambda tx: {row.id: row.from_port for row in tx.session.scalars(select(SecurityGroupRule))})
    assert (found[first], found[second]) == (80, 22)
    modify({first: WEB})
    unchanged()
    with pytest.raises(AlreadyExists):
        modify({first: SSH})
    unchanged()


def test_a_modified_rule_may_be_as_one_of_the_other_direction(allow, modify, ports):
    (inwards,) = allow(SSH)
    allow(WEB, egress=True)
    modify({inwards: WEB})
    assert (ports(), ports(egress=True)) == ([-1, 80], [-1, 80])


def test_only_rules_of_the_callers_own_group_are_modified(world, run, allow, modify, unchanged):
    (rule_id,) = allow(SSH)
    unchanged()
    for tenant, group_id in ((world.other, world.one.group_id), (world.other, world.other.group_id)):
        with pytest.raises(NotFound):
            run(security_group_rules.modify, tenant.caller, group_id, {rule_id: WEB})
    unchanged()


def reached_rule(world, run):
    """Add a rule that lets in a group of a peered VPC which is gone since, and give its id and that group's."""
    peer_id = ids.new_id("security-group")

    def add(tx):
        group = tx.session.get_one(SecurityGroup, world.one.group_id)
        peering = {"peering_id": PEERING, "peer_vpc_id": "vpc-00000000000000001"}
        row = rows.rule(
            group,
            protocol="tcp",
            from_port=22,
            to_port=22,
            peer_group_id=peer_id,
            peer_account_id="333333333333",
            **peering,
        )
        tx.session.add(row)
        return row.id

    return run(add), peer_id


def test_a_modified_rule_stays_the_way_to_a_peered_group(world, run, modify):
    rule_id, peer_id = reached_rule(world, run)
    modify({rule_id: tcp(23, groups=(GroupReference(peer_id),))})
    reached = Reached("333333333333", "vpc-00000000000000001", PEERING)
    found = run(lambda tx: of_row(tx.session.get_one(SecurityGroupRule, rule_id)))
    assert (found.from_port, found.peer_group_id, found.reached) == (23, peer_id, reached)
    modify({rule_id: tcp(23, groups=(GroupReference(world.one.group_id),))})
    found = run(lambda tx: of_row(tx.session.get_one(SecurityGroupRule, rule_id)))
    assert (found.peer_group_id, found.reached) == (world.one.group_id, None)


def test_a_rule_has_the_status_of_the_peering_connection_that_it_refers_through(world, run):
    rule_id, _ = reached_rule(world, run)

    def statuses():
        found = run(security_group_rules.describe, world.one.caller, CLOUD, Selection())
        return {one.rule.id: one.peering_status for one in found}

    own = dict.fromkeys(statuses().keys() - {rule_id})  # those of the default group, through none
    assert statuses() == {**own, rule_id: "deleted"}, "it is no longer stored"
    ends = {"requester_vpc_id": world.one.vpc_id, "accepter_vpc_id": "vpc-00000000000000001"}
    accounts = {"account_id": world.one.caller.account_id, "accepter_account_id": "333333333333"}
    peering = VpcPeeringConnection(id=PEERING, status="active", message="Active", created=NOW, **ends, **accounts)
    run(lambda tx: tx.session.add(peering))
    assert statuses() == {**own, rule_id: "active"}


def test_a_rule_of_a_group_that_is_gone_is_described_and_revoked(world, run, revoke, ports):
    _, peer_id = reached_rule(world, run)
    stale = tcp(22, groups=(GroupReference(peer_id, description="gone"),))
    run(
        security_group_rules.describe_again,
        world.one.caller,
        GroupName(world.one.group_id),
        [stale],
        egress=False,
    )
    assert revoke(stale) == (1, [])
    assert ports() == [-1]


def descriptions(run, group_id):
    query = select(SecurityGroupRule).where(SecurityGroupRule.group_id == group_id)
    return run(lambda tx: {(row.from_port, row.egress): row.description for row in tx.session.scalars(query)})


def test_rules_are_described_again_by_what_they_allow_all_or_none(world, run, allow, unchanged):
    allow(SSH)
    allow(SSH, egress=True)

    def describe_again(*permissions):
        name = GroupName(world.one.group_id)
        run(security_group_rules.describe_again, world.one.caller, name, permissions, egress=False)

    describe_again(Permission("tcp", 22, 22, (Block("10.0.0.0/8", "ssh"),)))
    found = descriptions(run, world.one.group_id)
    assert (found[22, False], found[22, True]) == ("ssh", None)
    unchanged()
    with pytest.raises(NotFound) as refusal:
        describe_again(SSH, WEB)
    assert refusal.value.code == "InvalidPermission.NotFound"
    assert refusal.value.missing == ["peer: 10.0.0.0/8, TCP, from port: 80, to port: 80, ALLOW"]
    unchanged()


def test_rules_are_described_again_by_id_all_or_none(world, run, allow, unchanged):
    (inwards,) = allow(SSH)
    (outwards,) = allow(SSH, egress=True)

    def describe_again(texts):
        name = GroupName(world.one.group_id)
        run(security_group_rules.describe_again_by_id, world.one.caller, name, texts, egress=False)

    describe_again({inwards: "ssh"})
    found = descriptions(run, world.one.group_id)
    assert (found[22, False], found[22, True]) == ("ssh", None)
    unchanged()
    with pytest.raises(NotFound):
        describe_again({inwards: "other", outwards: "other"})
    unchanged()


def limit(run, tenant, value):
    quota = quotas.RULES_PER_SECURITY_GROUP
    account_id = tenant.caller.account_id
    run(
        lambda tx: tx.session.add(
            quotas.ServiceQuota(account_id=account_id, service=quota.service, code=quota.code, value=value)
        )
    )


def test_rules_are_counted_by_ip_version_and_direction(world, run, allow, modify):
    limit(run, world.one, 3)
    (first, _) = allow(SSH, WEB)  # the group's rule about itself is the third
    for permission in (tcp(1, "10.0.0.0/8"), tcp(1, groups=(GroupReference(world.one.group_id),))):
        with pytest.raises(LimitExceeded) as refusal:
            allow(permission)
        assert refusal.value.code == "RulesPerSecurityGroupLimitExceeded"
    allow(tcp(1, ipv6=["2001:db8::/32", "2001:db9::/32"]))
    with pytest.raises(LimitExceeded):
        allow(tcp(2, ipv6=["2001:db8::/32"]))
    with pytest.raises(LimitExceeded):
        modify({first: tcp(2, ipv6=["2001:db8::/32"])})
    modify({first: tcp(2, "10.0.0.0/8")})
    allow(tcp(1, "10.0.0.0/8"), tcp(2, "10.0.0.0/8"), egress=True)
    with pytest.raises(LimitExceeded):
        allow(tcp(3, "10.0.0.0/8"), egress=True)


@pytest.mark.parametrize(("family", "cidr"), [("IPv4", "10.0.0.0/8"), ("IPv6", "2001:db8::/32")])
def test_a_prefix_list_counts_with_all_that_it_may_have_for_its_ip_version(world, run, allow, family, cidr):
    once = Repeatable("CreateManagedPrefixList", "", "")
    list_id = run(prefix_lists.create, world.one.caller, prefix_lists.NewList("n", family, 5), repeatable=once, now=NOW)
    listed = (PrefixListReference(list_id),)
    limit(run, world.one, 11)
    allow(tcp(1, prefix_lists=listed), tcp(2, prefix_lists=listed))  # ten, and the group itself
    more = {"IPv4": tcp(3, "10.0.0.0/8"), "IPv6": tcp(3, ipv6=["2001:db8::/32"])}
    with pytest.raises(LimitExceeded):
        allow(more.pop(family))
    allow(*more.values())


def test_a_group_whose_list_grew_is_counted_anew_by_direction(world, run, allow):
    allow(SSH, WEB)
    allow(SSH, WEB, egress=True)
    limit(run, world.one, 3)
    run(security_group_rules.check_group_quota, world.one.group_id)
    limit(run, world.other, 0)
    with pytest.raises(LimitExceeded):
        run(security_group_rules.check_group_quota, world.other.group_id)
    run(security_group_rules.check_group_quota, new_empty_group(run, world.other))


def new_empty_group(run, tenant):
    """A group without any rule."""
    group_id = ids.new_id("security-group")
    values = {"account_id": tenant.caller.account_id, "vpc_id": tenant.vpc_id, "description": "d", "created": NOW}
    run(lambda tx: tx.session.add(SecurityGroup(id=group_id, name="empty", **values)))
    return group_id


def test_rules_are_found_with_their_tags_and_the_group_they_refer_to(world, run, allow):
    (rule_id,) = allow(SSH, tags={"why": "test"})
    account = world.one.caller.account_id
    listed = run(security_group_rules.describe, world.one.caller, CLOUD, Selection())
    assert len(listed) == 3
    found = {(one.rule.egress, one.rule.from_port): one for one in listed}
    assert found[False, 22].tags == [("why", "test")]
    assert found[False, 22].rule.peer_group_id is None
    assert found[False, 22].arn == f"arn:aws:ec2:us-east-1:{account}:security-group-rule/{rule_id}"
    referring = found[False, -1]
    assert (referring.rule.peer_group_id, referring.peering_status) == (world.one.group_id, None)


def test_only_groups_may_be_what_rules_are_filtered_by(world, run):
    def by_group(*values):
        asked = Selection(filters=(Filter("group-id", values),))
        return run(security_group_rules.describe, world.one.caller, CLOUD, asked)

    assert len(by_group(world.one.group_id)) == 2
    assert by_group(world.other.group_id) == []
    with pytest.raises(MalformedId):
        by_group("default")
    by_rule = Selection(filters=(Filter("security-group-rule-id", ("default",)),))
    assert run(security_group_rules.describe, world.one.caller, CLOUD, by_rule) == []
