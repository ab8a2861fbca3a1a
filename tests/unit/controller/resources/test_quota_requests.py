"""Wishes for more: one at a time is open, the operator answers it once, and answered ones are shown for 90 days."""

from dataclasses import replace
from datetime import timedelta

import pytest

from stead_controller.db.tables import QuotaRequest
from stead_controller.errors import AlreadyExists, BadRequest, InvalidParameter, LimitExceeded, NotFound, WrongState
from stead_controller.resources import quota_requests, quotas
from stead_controller.resources.quota_requests import GRANTED, NOT_APPROVED, OPEN, TURNED_DOWN
from stead_controller.resources.quotas import SUBNETS_PER_VPC, VPCS
from tests.support.rows import CLOUD, NOW

DAY = timedelta(days=1)
LATER = NOW + timedelta(days=90)


@pytest.fixture
def ask(run, world):
    """Wish for something: `ask(quota, desired)`, by the first tenant and openly where nothing else is said."""

    def request(quota=VPCS, desired=9.0, *, tenant=world.one, now=NOW, openly=True):
        return run(quota_requests.ask, tenant.caller, CLOUD, quota, desired, now=now, openly=openly)

    return request


@pytest.fixture
def add(run, world):
    """Add the row of a request, `add("a", created=…)`, and give its id."""

    def insert(name, *, tenant=world.one, created=NOW, status=TURNED_DOWN, quota=VPCS):
        row = QuotaRequest(
            id=name,
            account_id=tenant.caller.account_id,
            service=quota.service,
            code=quota.code,
            desired=9,
            status=status,
            requester=tenant.caller.arn,
            created=created,
            updated=created,
        )
        run(lambda tx: tx.session.add(row))
        return name

    return insert


@pytest.fixture
def listed(run, world):
    """The ids that an account is shown, in their order."""

    def call(now=NOW, *, service=None, code=None, status=None):
        found = run(quota_requests.of_account, world.one.caller, now, service=service, code=code, status=status)
        return [each.id for each in found]

    return call


def answer(run, request_id, *, grant, now=NOW):
    return run(quota_requests.answer, CLOUD, request_id, now, grant=grant)


def test_a_request_is_as_it_was_asked(ask, world):
    made = ask(desired=9.0)
    assert (made.account_id, made.requester) == (world.one.caller.account_id, world.one.caller.arn)
    assert (made.service, made.code, made.desired, made.status) == ("vpc", VPCS.code, 9, OPEN)
    assert (made.created, made.updated) == (NOW, NOW)


def test_of_each_quota_one_request_of_an_account_is_open(ask, world, run):
    first = ask()
    with pytest.raises(AlreadyExists) as refusal:
        ask(desired=10)
    assert refusal.value.code == "ResourceAlreadyExistsException"
    ask(SUBNETS_PER_VPC, 300)
    ask(replace(VPCS, service="ec2"))
    ask(tenant=world.other)
    answer(run, first.id, grant=False)
    assert ask().id != first.id


def test_what_the_operator_does_not_see_is_not_open(ask, run):
    assert ask(openly=False).status == NOT_APPROVED
    assert run(quota_requests.all_open) == []
    assert ask().status == OPEN


def test_a_request_is_for_a_whole_number_that_is_more(ask, run, world, unchanged):
    run(quotas.set_value, world.one.caller.account_id, VPCS, 7)
    unchanged()
    with pytest.raises(InvalidParameter):
        ask(desired=8.5)
    for desired in (6.0, 7.0):
        with pytest.raises(BadRequest):
            ask(desired=desired)
    unchanged()
    assert ask(desired=8.0).desired == 8


def test_elastic_addresses_are_counted_from_the_clouds_own_number(run, world):
    cloud = replace(CLOUD, elastic_addresses_per_account=20)
    asked = (quota_requests.ask, world.one.caller, cloud, quotas.ELASTIC_ADDRESSES)
    with pytest.raises(BadRequest):
        run(*asked, 20.0, now=NOW, openly=True)
    assert run(*asked, 21.0, now=NOW, openly=True).desired == 21


def test_an_account_asks_so_many_times_and_old_answers_do_not_count(ask, add, world, monkeypatch):
    monkeypatch.setattr(quota_requests, "_MOST", 2)
    add("ended", created=NOW - DAY)
    add("others", tenant=world.other)
    ask(SUBNETS_PER_VPC, 300)
    with pytest.raises(LimitExceeded) as refusal:
        ask(now=NOW + 89 * DAY)
    assert refusal.value.code == "QuotaExceededException"
    ask(now=NOW + 90 * DAY)


def test_old_answers_of_an_account_go_when_it_asks_again(ask, add, world, run):
    remaining = {
        add("on the day"),
        add("open", created=NOW - DAY, status=OPEN, quota=SUBNETS_PER_VPC),
        add("others", tenant=world.other, created=NOW - DAY),
    }
    add("old", created=NOW - timedelta(seconds=1))
    made = ask(now=LATER)
    found = run(lambda tx: {each.id for each in tx.session.query(QuotaRequest)})
    assert found == remaining | {made.id}


def test_an_account_sees_its_own(ask, world, run):
    made = ask()
    assert run(quota_requests.find, world.one.caller, made.id).id == made.id
    for caller, named in ((world.other.caller, made.id), (world.one.caller, "0" * 40)):
        with pytest.raises(NotFound):
            run(quota_requests.find, caller, named)


def test_the_newest_come_first_and_for_the_operator_the_oldest(add, listed, world, run):
    for name, created in (("d", NOW), ("b", NOW), ("a", NOW - DAY), ("c", NOW + DAY)):
        add(name, created=created, status=OPEN)
    add("x", tenant=world.other, created=NOW + 2 * DAY, status=OPEN)
    for status in (GRANTED, TURNED_DOWN, NOT_APPROVED):
        add(status, created=NOW - 2 * DAY, status=status)
    assert listed(status=OPEN) == ["c", "b", "d", "a"]
    assert [each.id for each in run(quota_requests.all_open)] == ["a", "b", "d", "c", "x"]


def test_answered_ones_are_listed_for_90_days(add, listed):
    add("on the day")
    add("old", created=NOW - timedelta(seconds=1))
    add("open", created=NOW - DAY, status=OPEN)
    assert listed(LATER) == ["on the day", "open"]


def test_what_is_listed_is_chosen(add, listed):
    add("a")
    add("b", quota=SUBNETS_PER_VPC, status=GRANTED)
    add("c", quota=replace(VPCS, service="ec2"))
    assert listed() == ["a", "b", "c"]
    assert listed(service="vpc") == ["a", "b"]
    assert listed(code=VPCS.code) == ["a", "c"]
    assert listed(status=TURNED_DOWN) == ["a", "c"]
    assert listed(service="vpc", code=VPCS.code, status=TURNED_DOWN) == ["a"]


def test_what_is_granted_holds_from_then_on(ask, run, world):
    made = ask()
    later = NOW + DAY
    granted = answer(run, made.id, grant=True, now=later)
    assert (granted.status, granted.created, granted.updated) == (GRANTED, NOW, later)
    assert run(quotas.limit, world.one.caller.account_id, VPCS) == 9
    assert run(quotas.limit, world.other.caller.account_id, VPCS) == 5


def test_what_is_turned_down_changes_no_quota(ask, run, world):
    assert answer(run, ask().id, grant=False).status == TURNED_DOWN
    assert run(quotas.limit, world.one.caller.account_id, VPCS) == 5


@pytest.mark.parametrize("value", [9, 12])
def test_who_has_as_much_by_now_gets_no_value_of_its_own(ask, run, world, value):
    made = ask()
    run(quotas.set_value, quotas.EVERYONE, VPCS, value)
    assert answer(run, made.id, grant=True).status == GRANTED
    assert run(quotas.set_values, world.one.caller.account_id) == {}


@pytest.mark.parametrize("grant", [True, False])
def test_a_request_is_answered_once(ask, run, unchanged, grant):
    made = ask()
    answer(run, made.id, grant=True)
    unchanged()
    with pytest.raises(WrongState):
        answer(run, made.id, grant=grant)
    with pytest.raises(NotFound):
        answer(run, "0" * 40, grant=grant)
    unchanged()
