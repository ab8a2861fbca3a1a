"""Several hosts say what they have of one cloud: what was told last counts, and no host's word harms another's."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, Instance, SecurityGroupRule
from stead_controller.desired.changes import Reader
from stead_controller.resources.network import notify_hosts, security_groups
from stead_controller.resources.operators import unclaimed_resources
from stead_proto.v1 import desired_pb2 as desired
from tests.support import kept, rows
from tests.support.rows import NOW
from tests.unit.controller.resources.operators import lost_changes as lost
from tests.unit.controller.resources.operators.test_adopted_vpcs import vpc


@pytest.fixture
def hosts(run, world, life):
    """The ids of two hosts; the second one has room as well."""

    def build(tx):
        other = rows.host(underlay_address="10.9.0.2")
        tx.session.add(other)
        tx.session.flush()
        return other.id

    return [world.host_id, run(build)]


class Story:
    """A group of a new VPC with guests on two hosts, one of which has not heard of the group's last change."""

    def __init__(self, database, world, hosts, late):
        self.hosts, self.late = hosts, late
        self.before = kept.lose(database, world.cloud, hosts, lambda tx: self._make(tx, world))
        outdated = self.before.hosts[late]
        outdated.resources[self.key].CopyFrom(self.older)

    def _make(self, tx, world):
        vpc_id, subnet_id = vpc(tx, world)
        group = security_groups.create(tx, world.one.caller, "web", "of the web", vpc_id, group_tags={}, now=NOW)
        self.group_id = group.id
        self.key = kept.Key(desired.KIND_SECURITY_GROUP, group.id)
        rule = rows.rule(group, protocol="tcp", from_port=22, to_port=22, cidr_ipv4="0.0.0.0/0")
        tx.session.add(rule)
        tx.session.flush()
        self.instances = {}
        for host_id in self.hosts:
            for host in tx.session.scalars(select(Host)):
                host.schedulable = host.id == host_id
            tx.session.flush()
            made = lost.launch(tx, world, subnet_id=subnet_id, group_ids=(group.id,))
            assert tx.session.get_one(Instance, made).host_id == host_id
            self.instances[host_id] = made
        notify_hosts.security_group(tx, group.id, group.vpc_id)
        state = Reader(tx).everything(self.late).message.state
        self.older = next(each for each in state.resources if each.id == group.id)
        self.older.revision -= 1  # a later change is another transaction's
        assert len(self.older.security_group.rules) == 2
        tx.session.delete(rule)
        tx.session.flush()
        notify_hosts.security_group(tx, group.id, group.vpc_id)


@pytest.mark.parametrize("case", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_revoked_rule_stays_so_whoever_is_adopted_first(database, run, world, hosts, case):
    late, first = case
    story = Story(database, world, hosts, hosts[late])
    kept.report(database, story.before)
    order = [hosts[first], hosts[1 - first]]
    notes = [note for host_id in order for note in run(lost.adopt, world, story.instances[host_id])]
    left = run(lambda tx: tx.session.scalars(_rules_of(story.group_id)).all())
    assert [rule.egress for rule in left] == [True]
    said = (
        f"the security group {story.group_id} (web) is as {hosts[1 - late]} has it, which has heard of a later change"
    )
    assert notes.count(said) == (1 if first == late else 0)
    assert not [each for each in run(unclaimed_resources.list_all) if each.kind != desired.KIND_BASE]
    for host_id in hosts:
        state = run(lambda tx, host_id=host_id: Reader(tx).everything(host_id).message.state)
        [sent] = [each for each in state.resources if each.id == story.group_id]
        assert [rule.egress for rule in sent.security_group.rules] == [True]


def test_a_later_word_without_rows_is_none(database, run, world, hosts):
    """An agent of an earlier release, or one that has too much to say, is not asked."""
    story = Story(database, world, hosts, hosts[0])
    story.before.hosts[hosts[1]].resources[story.key].security_group.ClearField("rows")
    kept.report(database, story.before)
    run(lost.adopt, world, story.instances[hosts[0]])
    assert len(run(lambda tx: tx.session.scalars(_rules_of(story.group_id)).all())) == 2


def _rules_of(group_id):
    return select(SecurityGroupRule).where(SecurityGroupRule.group_id == group_id)
