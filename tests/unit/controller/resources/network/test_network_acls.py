"""Network ACLs: each subnet has exactly one, quotas, and what a first IPv6 block adds."""

import pytest
from sqlalchemy import func, select, update

from stead_controller.catalog import ids
from stead_controller.db.tables import NetworkAcl, NetworkAclAssociation, NetworkAclEntry, Subnet
from stead_controller.errors import LimitExceeded
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.resources import quotas
from stead_controller.resources.network import create_vpc, network_acls
from stead_controller.resources.network.acl_entries import AskedEntry
from tests.support.rows import CLOUD, NOW

ONCE = Repeatable("CreateNetworkAcl", "", "")


def create(run, tenant):
    return run(network_acls.create, tenant.caller, tenant.vpc_id, acl_tags={}, repeatable=ONCE, now=NOW)


def entry(number, **changes):
    return AskedEntry(number, False, "-1", "allow", **{"cidr_block": f"10.{number % 200}.0.0/16"} | changes)


def found(run, tenant, acl_id):
    (acl,) = run(network_acls.describe, tenant.caller, Selection((acl_id,)))
    return acl


def rules(acl):
    return [(one.rule_number, one.egress, one.allow, one.cidr_ipv4, one.cidr_ipv6) for one in acl.entries]


def test_every_subnet_has_exactly_one_acl(world, run):
    def counts(tx):
        query = select(Subnet.id, func.count(NetworkAclAssociation.id)).outerjoin(
            NetworkAclAssociation, NetworkAclAssociation.subnet_id == Subnet.id
        )
        return {row[1] for row in tx.session.execute(query.group_by(Subnet.id))}

    assert run(counts) == {1}
    acl_id = create(run, world.one)
    acls = run(network_acls.describe, world.one.caller, Selection())
    default = next(acl for acl in acls if acl.acl.is_default)
    association = default.associations[0]
    made = run(network_acls.replace_association, world.one.caller, association.id, acl_id)
    assert [(one.id, one.acl_id, one.subnet_id) for one in found(run, world.one, acl_id).associations] == [
        (made, acl_id, association.subnet_id)
    ]
    assert run(counts) == {1}


def test_quotas(world, run):
    acl_id = create(run, world.one)
    for number in range(1, quotas.RULES_PER_NETWORK_ACL.default):
        run(network_acls.create_entry, world.one.caller, acl_id, entry(number))
    with pytest.raises(LimitExceeded) as refusal:
        run(network_acls.create_entry, world.one.caller, acl_id, entry(900))
    assert refusal.value.code == "NetworkAclEntryLimitExceeded"
    run(network_acls.create_entry, world.one.caller, acl_id, entry(900, cidr_block=None, ipv6_cidr_block="::/0"))

    def fill(tx):
        for _ in range(quotas.NETWORK_ACLS_PER_VPC.default - 2):
            values = {"account_id": world.one.caller.account_id, "vpc_id": world.one.vpc_id, "created": NOW}
            tx.session.add(NetworkAcl(id=ids.new_id("network-acl"), **values))

    run(fill)
    with pytest.raises(LimitExceeded) as refusal:
        create(run, world.one)
    assert refusal.value.code == "NetworkAclLimitExceeded"


def test_the_first_ipv6_block_of_a_vpc(world, run):
    acl_id = create(run, world.one)
    run(network_acls.allow_ipv6, world.one.vpc_id)
    run(network_acls.allow_ipv6, world.one.vpc_id)
    numbers = [one.rule_number for one in found(run, world.one, acl_id).entries]
    assert numbers == [32767, 32768] * 2
    later = create(run, world.one)
    assert rules(found(run, world.one, later)) == rules(found(run, world.one, acl_id))
    acls = run(network_acls.describe, world.one.caller, Selection())
    default = next(acl for acl in acls if acl.acl.is_default)
    assert [one.rule_number for one in default.entries] == [100, 101, 32767, 32768] * 2


def test_a_vpcs_default_acl_goes_with_it(world, run):
    assert not run(network_acls.has_others, world.one.vpc_id)
    acl_id = create(run, world.one)
    assert run(network_acls.has_others, world.one.vpc_id)
    run(network_acls.remove, world.one.caller, acl_id)
    run(network_acls.remove_default, world.one.vpc_id)

    def left(tx):
        acls = select(NetworkAcl.id).where(NetworkAcl.vpc_id == world.one.vpc_id)
        entries = select(NetworkAclEntry).where(NetworkAclEntry.acl_id.in_(acls))
        return tx.session.scalars(acls).all(), tx.session.scalars(entries).all()

    assert run(left) == ([], [])


def test_an_acl_of_another_vpc_is_refused(world, run):
    def move(tx, acl_id):
        vpc = create_vpc.add(tx, CLOUD, world.one.caller.account_id, "10.0.0.0/16", NOW)
        tx.session.flush()
        tx.session.execute(update(NetworkAcl).where(NetworkAcl.id == acl_id).values(vpc_id=vpc.id))

    acl_id = create(run, world.one)
    run(move, acl_id)
    acls = run(network_acls.describe, world.one.caller, Selection())
    default = next(acl for acl in acls if acl.acl.is_default and acl.acl.vpc_id == world.one.vpc_id)
    association_id = default.associations[0].id
    with pytest.raises(network_acls.InvalidParameter) as refusal:
        run(network_acls.replace_association, world.one.caller, association_id, acl_id)
    assert "different networks" in refusal.value.message
