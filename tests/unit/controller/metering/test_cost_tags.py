"""Uses have the tags that their resources had at the time, if their keys were active."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from stead_controller.db.insert import upsert
from stead_controller.db.tables import CostTag, Tag, UsageTag
from stead_controller.errors import LimitExceeded
from stead_controller.metering import cost_tags, ledger, usage_sums
from stead_controller.metering.ledger import Resource, Use
from stead_controller.metering.usage_sums import Question
from tests.support.examples import examples

START = 1_700_000_000
MINE, OTHERS = "1" * 12, "2" * 12
BOX, DISK = Resource("i-1", MINE, "a"), Resource("vol-1", MINE, "b")
FOREIGN = Resource("i-2", OTHERS, "a")
RESOURCES = [BOX, DISK, FOREIGN]
TYPES = {"i-1": "instance", "vol-1": "volume", "i-2": "instance"}
KEYS = ["team", "env", "more"]


def at(moment):
    return datetime.fromtimestamp(moment, UTC)


def row(resource, key, value):
    return {
        "resource_id": resource.id,
        "key": key,
        "value": value,
        "account_id": resource.account_id,
        "resource_type": TYPES[resource.id],
    }


class Recount:
    """Which resource is used, and which tags count, in each second."""

    def __init__(self, tx):
        self.tx, self.moment, self.used, self.tags, self.active = tx, START, {}, {}, set()
        self.seconds = []

    def passes(self, seconds):
        for second in range(self.moment, self.moment + seconds):
            for resource, quantity in self.used.items():
                tags = {
                    key: value
                    for (owner, key), value in self.tags.items()
                    if owner == resource.id and (resource.account_id, key) in self.active
                }
                self.seconds.append((second, resource, quantity, tags))
        self.moment += seconds

    def does(self, what, resource, key, value):
        now = at(self.moment)
        if what == "use":
            self.used[resource] = value
            ledger.change(self.tx, resource, [Use("EBS:VolumeUsage", "Create", value)], now)
        elif what == "end":
            self.used.pop(resource, None)
            ledger.end(self.tx, resource, now)
        elif what == "tag":
            self.tags[resource.id, key] = str(value)
            upsert(self.tx.session, Tag, [row(resource, key, str(value))])
            cost_tags.observe(self.tx, resource.account_id, [resource.id], now)
        elif what == "untag":
            self.tags.pop((resource.id, key), None)
            self.tx.session.execute(delete(Tag).where(Tag.resource_id == resource.id, Tag.key == key))
            cost_tags.observe(self.tx, resource.account_id, [resource.id], now)
        else:
            missing = cost_tags.set_status(self.tx, resource.account_id, {key: what == "activate"}, now)
            if not missing:
                (self.active.add if what == "activate" else self.active.discard)((resource.account_id, key))

    def sums(self, edges, keys):
        found = {}
        for second, resource, quantity, tags in self.seconds:
            for part, (first, last) in enumerate(pairwise(edges)):
                if first <= second < last:
                    which = (resource.account_id, tuple(tags.get(key) for key in keys), part)
                    found[which] = found.get(which, 0) + quantity
        return found


steps = st.lists(
    st.tuples(
        st.sampled_from(["use", "use", "end", "tag", "tag", "tag", "untag", "activate", "activate", "deactivate"]),
        st.sampled_from(RESOURCES),
        st.sampled_from(KEYS),
        st.integers(1, 2),
        st.integers(0, 5),
    ),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(15))
@given(steps, st.sets(st.integers(1, 30), max_size=3), st.sampled_from([(), ("team",), ("team", "env"), tuple(KEYS)]))
def test_sums_by_tags_are_those_of_a_recount(database, lived, inner, keys):
    def live(tx):
        recount = Recount(tx)
        for what, resource, key, value, passed in lived:
            recount.does(what, resource, key, value)
            recount.passes(passed)
        edges = [START, *sorted(START + second for second in inner), START + 200]
        found = usage_sums.of_parts(tx, edges, at(recount.moment), Question(tags=keys))
        amounts = {(each.used.account_id, each.used.tags, each.used.part): each.amount for each in found}
        assert len(amounts) == len(found)
        assert amounts == recount.sums(edges, keys)
        mine = usage_sums.of_parts(tx, edges, at(recount.moment), Question(MINE, tags=keys, by_resource=True))
        assert sum(each.amount for each in mine) == sum(each.amount for each in found if each.used.account_id == MINE)

    database.run_blocking(live, dry_run=True)


def intervals(run):
    rows = run(lambda tx: tx.session.scalars(select(UsageTag).order_by(UsageTag.began, UsageTag.key)).all())
    return [(each.key, each.value, each.began, each.ended) for each in rows]


@pytest.fixture
def active(run):
    """The key `team` is active: a volume of the account had it."""

    def make(tx):
        tx.session.add(CostTag(account_id=MINE, key="team", active=True, changed=START))

    run(make)


def tag(tx, resource, moment, **pairs):
    upsert(tx.session, Tag, [row(resource, key, value) for key, value in pairs.items()])
    cost_tags.observe(tx, resource.account_id, [resource.id], at(moment))


def test_tags_of_a_new_resource_count_since_its_creation_if_active_and_billed(run, active):
    rows = [row(BOX, "team", "a"), row(BOX, "env", "x"), row(FOREIGN, "team", "b")]
    run(cost_tags.begin, MINE, rows[:2])
    run(cost_tags.begin, OTHERS, rows[2:])
    run(cost_tags.begin, MINE, [rows[0] | {"resource_type": "vpc", "resource_id": "vpc-1"}])
    assert intervals(run) == [("team", "a", 0, None)]


def test_a_clock_set_back_makes_no_time_count_twice(run, active):
    run(tag, BOX, START + 100, team="a")
    run(tag, BOX, START + 200, team="b")
    run(tag, BOX, START + 50, team="c")
    assert intervals(run) == [("team", "a", START + 100, START + 200), ("team", "c", START + 200, None)]
    run(cost_tags.set_status, MINE, {"team": False}, at(START + 300))
    run(cost_tags.set_status, MINE, {"team": True}, at(START + 10))
    assert intervals(run)[1:] == [("team", "c", START + 200, START + 300), ("team", "c", START + 300, None)]


def test_what_stays_as_it_is_writes_nothing(run, active):
    run(tag, BOX, START, team="a", env="x")
    before = intervals(run)
    run(tag, BOX, START + 9, team="a", env="y")
    run(cost_tags.set_status, MINE, {"team": True}, at(START + 9))
    assert intervals(run) == before == [("team", "a", START, None)]


def test_keys_are_listed_by_name_with_those_that_no_resource_has_any_more(run, active):
    run(tag, BOX, START, env="x", zone="y")
    run(tag, FOREIGN, START, theirs="x")
    found = run(cost_tags.statuses, MINE)
    assert [(each.key, each.active, each.used) for each in found] == [
        ("env", False, True), ("team", True, False), ("zone", False, True),
    ]  # fmt: skip
    assert [each.key for each in run(lambda tx: cost_tags.statuses(tx, MINE, after="env", limit=1))] == ["team"]
    assert [each.key for each in run(lambda tx: cost_tags.statuses(tx, MINE, keys=["zone", "none"]))] == ["zone"]


def test_an_unknown_key_is_returned_and_the_others_change(run, active):
    run(tag, BOX, START, env="x")
    assert run(cost_tags.set_status, MINE, {"none": True, "env": True}, at(START + 5)) == ["none"]
    assert run(cost_tags.active_keys, MINE) == {"team", "env"}
    assert intervals(run) == [("env", "x", START + 5, None)]
    assert run(cost_tags.set_status, MINE, {"env": False}, at(START + 5)) == []
    assert intervals(run) == []


def test_no_more_keys_than_aws_allows_are_active(run, active, monkeypatch):
    run(tag, BOX, START, env="x", team="y")
    monkeypatch.setattr(cost_tags, "MOST_ACTIVE", 1)
    with pytest.raises(LimitExceeded, match="1 active"):
        run(cost_tags.set_status, MINE, {"env": True}, at(START))
    run(cost_tags.set_status, MINE, {"env": True, "team": False}, at(START))
    assert run(cost_tags.active_keys, MINE) == {"env"}
