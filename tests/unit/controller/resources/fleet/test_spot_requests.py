"""Spot requests are found by their account, and cancelled: what becomes of each kind of them and of its instance."""

import itertools
from datetime import timedelta

import pytest

from stead_controller.catalog import ids
from stead_controller.db.tables import Instance, SpotRequest, Tag
from stead_controller.errors import MalformedId, NotFound
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.resources.fleet import spot_requests
from stead_controller.resources.fleet.waiting_spot_requests import Wanted
from tests.support import rows
from tests.support.rows import CLOUD, NOW
from tests.unit.controller.resources.fleet.test_waiting_spot_requests import TINY, Requests

BEFORE, LATER = (NOW + timedelta(minutes=minutes) for minutes in (-1, 1))
BY_USER, KIND = "Client.UserInitiatedShutdown", "spot-instances-request"


@pytest.fixture
def life(database, world):
    return Requests(database, world)


@pytest.fixture
def add(life):
    """Add a request, and an instance of it if something is said of one; gives its id."""
    numbers = itertools.count()

    def make(instance=None, tenant=life.world.one, **columns):
        def write(tx):
            made = None
            if instance is not None:
                given = {"state_reason_code": BY_USER, "number": next(numbers)} | instance
                made = rows.launch(tx, life.world, tenant, **given).id
            columns.setdefault("created", NOW)
            request = SpotRequest(
                id=ids.new_id(KIND),
                account_id=tenant.caller.account_id,
                instance_id=made,
                **columns,
            )
            tx.session.add(request)
            return request.id

        return life.run(write)

    return make


def row(life, request_id):
    return life.run(lambda tx: tx.session.get_one(SpotRequest, request_id))


def cancel(life, *request_ids):
    return life.run(spot_requests.cancel, life.caller, CLOUD, request_ids, LATER)


def describe(life, *request_ids):
    return life.run(spot_requests.describe, life.caller, CLOUD, Selection(ids=request_ids))


def test_one_that_waits_is_never_fulfilled(life, add):
    request_id = add(status="capacity-not-available", status_time=NOW, next_try=NOW, shape="s", expires=LATER)
    [found] = cancel(life, request_id)
    assert (found.state, found.status, found.status_time) == ("cancelled", "canceled-before-fulfillment", LATER)
    assert found.message == "Your Spot request was canceled before it was fulfilled."
    kept = row(life, request_id)
    assert (kept.cancelled, kept.ended, kept.next_try, kept.expires) == (LATER, LATER, None, None)


@pytest.mark.parametrize(
    ("instance", "becomes", "status"),
    [
        ({"state": "running"}, "running", "request-canceled-and-instance-running"),
        ({"state": "stopped"}, "terminated", "instance-terminated-by-user"),
        ({"state": "terminated"}, "terminated", "instance-terminated-by-user"),
    ],
    ids=str,
)
def test_one_with_an_instance_is_cancelled_and_only_one_that_its_user_stopped_ends(
    life, add, instance, becomes, status
):
    request_id = add(instance, persistent=True, expires=LATER)
    [found] = cancel(life, request_id)
    assert (found.state, found.status) == ("cancelled", status)
    assert found.instance.state in {becomes, "shutting-down" if becomes == "terminated" else becomes}
    kept = row(life, request_id)
    assert (kept.cancelled, kept.ended, kept.expires) == (LATER, None, None)


@pytest.mark.parametrize(
    ("instance", "columns"),
    [
        (None, {"status": "bad-parameters", "status_time": BEFORE, "ended": BEFORE}),
        (None, {"status": "schedule-expired", "status_time": BEFORE, "ended": BEFORE}),
        ({"state": "terminated"}, {}),
        ({"state": "running"}, {"cancelled": BEFORE}),
        ({"state": "stopped"}, {"cancelled": BEFORE}),
    ],
    ids=str,
)
def test_one_that_is_over_stays_as_it_is(life, add, instance, columns):
    request_id = add(instance, **columns)
    [before] = describe(life, request_id)
    [found] = cancel(life, request_id)
    assert (found.state, found.status, found.status_time) == (before.state, before.status, before.status_time)
    assert row(life, request_id).cancelled == columns.get("cancelled")
    if instance is not None:
        assert life.run(lambda tx: tx.session.get_one(Instance, found.instance.id).state) == instance["state"]


def test_of_several_each_is_answered_once_and_none_changes_if_one_is_not_the_callers(life, add):
    mine, theirs = add({"state": "running"}), add({"state": "running"}, tenant=life.world.other)
    other = add({"state": "running"})
    for wrong, error in ((theirs, NotFound), (ids.new_id(KIND), NotFound), ("sir-x", MalformedId)):
        with pytest.raises(error):
            cancel(life, mine, wrong)
    assert (row(life, mine).cancelled, row(life, theirs).cancelled) == (None, None)
    assert sorted(one.request.id for one in cancel(life, mine, other, mine)) == sorted([mine, other])
    assert row(life, theirs).cancelled is None


def test_each_is_shown_with_its_own_instance_zone_and_tags(life, add):
    first, second = add({"state": "running"}), add({"state": "running", "zone": "us-east-1b"})
    waiting, theirs = add(status="capacity-not-available"), add({"state": "running"}, tenant=life.world.other)
    account = life.caller.account_id
    life.run(
        lambda tx: tx.session.add(Tag(resource_id=second, resource_type=KIND, account_id=account, key="a", value="b"))
    )
    shown = describe(life)
    assert [one.request.id for one in shown] == sorted([first, second, waiting])
    by_id = {one.request.id: one for one in shown}
    assert {each: by_id[each].instance and by_id[each].instance.id for each in by_id} == {
        each: row(life, each).instance_id for each in (first, second, waiting)
    }
    zones = [by_id[each].zone_id for each in (first, second, waiting)]
    assert zones[2] is None
    assert len(set(zones)) == 3
    assert [list(by_id[each].tags) for each in (first, second)] == [[], [("a", "b")]]
    assert [one.request.id for one in describe(life, second)] == [second]
    with pytest.raises(NotFound):
        describe(life, first, theirs)
    with pytest.raises(MalformedId):
        describe(life, "sir-x")


def test_a_call_gets_the_requests_that_it_made_and_again_the_same(life, add):
    def ask(token, count=2):
        wanted = Wanted(life.read(TINY, count), TINY, (), {})
        repeated = Repeatable("RequestSpotInstances", token, TINY)
        made = life.run(spot_requests.request, life.caller, CLOUD, wanted, repeated, now=NOW)
        return {one.request.id for one in made}

    first = ask("one")
    batch = row(life, min(first)).batch_id
    add(tenant=life.world.other, batch_id=batch)
    second = ask("two", 1)
    assert (len(first), len(second), first & second) == (2, 1, set())
    assert ask("one") == first
