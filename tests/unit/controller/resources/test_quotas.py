"""Quotas: whose value holds, and vCPUs that are counted without counting instances."""

from dataclasses import replace

import pytest

from stead_controller.db.tables import AccountUsage, Instance
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.resources import quotas
from tests.support import rows


def test_codes_are_unique_and_well_formed():
    codes = [quota.code for quota in quotas.ALL]
    assert len(codes) == len(set(codes)) >= 20
    assert all(code.startswith("L-") and len(code) == 10 for code in codes)
    assert {quota.service for quota in quotas.ALL} == set(quotas.SERVICES)
    with pytest.raises(NotFound):
        quotas.find("ec2", quotas.VPCS.code)


def test_an_accounts_own_value_holds_before_that_of_all(world, run):
    mine, theirs = world.one.caller.account_id, world.other.caller.account_id

    def values():
        return run(quotas.limit, mine, quotas.VPCS), run(quotas.limit, theirs, quotas.VPCS)

    assert values() == (5, 5)
    run(quotas.set_value, quotas.EVERYONE, quotas.VPCS, 7)
    assert values() == (7, 7)
    run(quotas.set_value, mine, quotas.VPCS, 9)
    run(quotas.set_value, mine, quotas.VPCS, 0)
    assert values() == (0, 7)
    run(quotas.reset, mine, quotas.VPCS)
    run(quotas.reset, mine, quotas.VPCS)
    assert values() == (7, 7)
    run(quotas.set_value, mine, quotas.VPCS, 10**12)
    for bad in (-1, 10**12 + 1):
        with pytest.raises(InvalidParameter):
            run(quotas.set_value, mine, quotas.VPCS, bad)


def test_a_quota_below_what_is_there_refuses_more_and_removes_nothing(world, run):
    mine = world.one.caller.account_id
    run(quotas.set_value, mine, quotas.STANDARD_VCPUS, 10)
    assert run(quotas.launchable, mine, 4, 1, 5) == 2
    run(quotas.use_vcpus, mine, 8)
    with pytest.raises(LimitExceeded) as refusal:
        run(quotas.launchable, mine, 4, 1, 5)
    assert refusal.value.code == "VcpuLimitExceeded"
    assert run(quotas.launchable, mine, 2, 1, 5) == 1
    run(quotas.set_value, mine, quotas.STANDARD_VCPUS, 1)
    with pytest.raises(LimitExceeded):
        run(quotas.launchable, mine, 1, 1, 1)
    run(quotas.use_vcpus, mine, -8)
    assert run(quotas.launchable, mine, 1, 1, 1) == 1


def test_counting_goes_no_further_than_the_limit(world, run):
    assert run(quotas.count, 0, Instance.id) == 0
    for number in range(3):
        run(lambda tx, number=number: rows.launch(tx, world, world.one, number=number).id)
    assert (run(quotas.count, 2, Instance.id), run(quotas.count, 9, Instance.id)) == (2, 3)

    def with_one_more(tx):
        tx.session.add(AccountUsage(account_id=world.one.caller.account_id, name="other", value=1))
        return quotas.count(tx, 9, AccountUsage.name, AccountUsage.name == "other")

    assert run(with_one_more) == 1


def test_each_quota_is_found_by_its_codes():
    assert [quotas.find(quota.service, quota.code) for quota in quotas.ALL] == list(quotas.ALL)


def test_what_holds_where_nothing_is_set(world, run):
    mine = world.one.caller.account_id
    cloud = replace(world.cloud, elastic_addresses_per_account=3)
    for asked in (None, cloud):
        assert run(quotas.limit, mine, quotas.SECURITY_GROUPS, cloud=asked) == 2500
        assert run(quotas.limit, mine, quotas.STANDARD_VCPUS, cloud=asked) == 1_000_000
    assert run(quotas.limit, mine, quotas.ELASTIC_ADDRESSES, cloud=cloud) == 3
    assert run(quotas.limit, mine, quotas.ELASTIC_ADDRESSES) == 5


def test_what_is_set_holds_for_one_quota_of_one_account(world, run):
    mine, theirs = world.one.caller.account_id, world.other.caller.account_id
    same_code = replace(quotas.VPCS, service="ec2")
    wanted = {
        (mine, quotas.VPCS): 1,
        (mine, same_code): 2,
        (mine, quotas.SUBNETS_PER_VPC): 3,
        (theirs, quotas.VPCS): 4,
        (theirs, same_code): 5,
    }

    def all_in_one(tx):
        for (account, quota), value in wanted.items():
            quotas.set_value(tx, account, quota, value)
            assert quotas.limit(tx, account, quota) == value

    run(all_in_one)
    assert {each: run(quotas.limit, *each) for each in wanted} == wanted
    assert run(quotas.set_values, theirs) == {("vpc", quotas.VPCS.code): 4, ("ec2", quotas.VPCS.code): 5}
    run(quotas.reset, mine, quotas.VPCS)
    assert {each: run(quotas.limit, *each) for each in wanted} == {**wanted, (mine, quotas.VPCS): 5}


def test_vcpus_of_one_account_are_no_others_affair(world, run):
    mine, theirs = world.one.caller.account_id, world.other.caller.account_id

    def note(tx):
        tx.session.add_all([AccountUsage(account_id=each, name="other", value=7) for each in (mine, theirs)])
        quotas.use_vcpus(tx, theirs, 8)
        quotas.use_vcpus(tx, mine, 3)
        quotas.use_vcpus(tx, mine, 1)

    run(note)
    for account, left in ((mine, 6), (theirs, 2)):
        run(quotas.set_value, account, quotas.STANDARD_VCPUS, 10)
        assert run(quotas.launchable, account, 1, 0, 100) == left
    assert run(quotas.launchable, mine, 0, 1, 7) == 7, "what takes no vCPUs is not limited"
    usage = run(lambda tx: {(each.account_id, each.name): each.value for each in tx.session.query(AccountUsage)})
    assert usage == {(mine, "other"): 7, (theirs, "other"): 7, (mine, "vcpus"): 4, (theirs, "vcpus"): 8}


def test_the_last_one_is_allowed_and_one_more_is_not(world, run):
    mine = world.one.caller.account_id
    run(quotas.set_value, mine, quotas.VPCS, 2)
    check = (quotas.check, mine, quotas.VPCS, Instance.id, Instance.account_id == mine)
    run(*check)
    run(lambda tx: rows.launch(tx, world, world.other, number=9).id)
    run(lambda tx: rows.launch(tx, world, world.one, number=1).id)
    run(*check)

    def with_one_more(tx):
        rows.launch(tx, world, world.one, number=2)
        quotas.check(tx, *check[1:])

    with pytest.raises(LimitExceeded, match=r"maximum number of VPCs per Region .* \(2\)") as refusal:
        run(with_one_more)
    assert refusal.value.code == "VpcLimitExceeded"
