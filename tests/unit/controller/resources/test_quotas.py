"""Quotas: whose value holds, and vCPUs that are counted without counting instances."""

import pytest

from stead_controller.db.tables import Instance
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.resources import quotas
from tests.unit.controller.resources import rows


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
    with pytest.raises(InvalidParameter):
        run(quotas.set_value, mine, quotas.VPCS, -1)


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
