"""Placement groups in their transaction: what each strategy takes, whose they are, and how they are found."""

import pytest
from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import PlacementGroup, Tag
from stead_controller.errors import (
    AlreadyExists,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    MissingParameter,
    NotFound,
)
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.fleet import placement_groups
from stead_controller.resources.fleet.placement_groups import PlacementGroupRequest
from tests.support.rows import CLOUD, NOW

ALL = Selection()


@pytest.fixture
def create(world, run):
    """Make a group of the first tenant, of strategy cluster where nothing else is said."""

    def call(name="own", strategy="cluster", *, partitions=None, level=None, tags=None, tenant=world.one):
        request = PlacementGroupRequest(name, strategy, partitions, level, tags or {})
        return run(placement_groups.create, tenant.caller, CLOUD, request, NOW)

    return call


@pytest.fixture
def names(world, run):
    """The names of the first tenant's groups, as they are described."""

    def call(asked=ALL, *named, tenant=world.one):
        found = run(placement_groups.describe, tenant.caller, CLOUD, asked, named)
        return [one.group.name for one in found]

    return call


def by(name, *values):
    return Selection(filters=(Filter(name, values),))


def of_ids(*group_ids):
    return Selection(ids=group_ids)


@pytest.mark.parametrize(
    ("strategy", "given", "partitions", "level"),
    [
        ("cluster", {}, None, None),
        ("spread", {}, None, "rack"),
        ("spread", {"level": "rack"}, None, "rack"),
        ("spread", {"level": "host"}, None, "host"),
        ("partition", {}, 2, None),
        ("partition", {"partitions": 1}, 1, None),
        ("partition", {"partitions": 7}, 7, None),
    ],
)
def test_a_group_has_what_its_strategy_takes(create, world, *, strategy, given, partitions, level):
    made = create("own", strategy, tags={"a": "b"}, **given)
    group = made.group
    assert (group.account_id, group.name, group.created) == (world.one.caller.account_id, "own", NOW)
    assert (group.strategy, group.partition_count, group.spread_level) == (strategy, partitions, level)
    assert made.arn == f"arn:aws:ec2:us-east-1:{world.one.caller.account_id}:placement-group/own"
    assert list(made.tags) == [("a", "b")]


@pytest.mark.parametrize(
    ("error", "about", "given"),
    [
        (MissingParameter, "GroupName", {"name": None}),
        (MissingParameter, "GroupName", {"name": ""}),
        (InvalidParameter, "groupName", {"name": "x" * 256}),
        (InvalidParameter, "groupName", {"name": "ü"}),
        (InvalidParameter, "groupName", {"name": "a\nb"}),
        (MissingParameter, "Strategy", {"strategy": None}),
        (MissingParameter, "Strategy", {"strategy": ""}),
        (InvalidParameter, "strategy", {"strategy": "scatter"}),
        (InvalidParameter, "1 to 7", {"strategy": "partition", "partitions": 0}),
        (InvalidParameter, "1 to 7", {"strategy": "partition", "partitions": 8}),
        (InvalidCombination, "partitionCount", {"partitions": 2}),
        (InvalidCombination, "partitionCount", {"strategy": "spread", "partitions": 2}),
        (InvalidCombination, "spreadLevel", {"level": "rack"}),
        (InvalidCombination, "spreadLevel", {"strategy": "partition", "level": "host"}),
        (InvalidParameter, "spreadLevel", {"strategy": "spread", "level": "room"}),
    ],
)
def test_what_no_group_can_be_is_refused_by_name(create, unchanged, error, about, given):
    unchanged()
    with pytest.raises(error, match=about):
        create(**given)
    unchanged()


def test_a_name_of_255_characters_is_none_too_long(create, names):
    create("x" * 255)
    assert names() == ["x" * 255]


def test_a_name_is_of_one_group_of_an_account(create, world, unchanged):
    create("own")
    create("another")
    create("own", tenant=world.other)
    unchanged()
    with pytest.raises(AlreadyExists, match="own"):
        create("own", "spread")
    unchanged()


def test_an_account_has_so_many_and_others_do_not_count(create, world, monkeypatch, unchanged):
    assert placement_groups.MOST == 500
    monkeypatch.setattr(placement_groups, "MOST", 2)
    create("a", tenant=world.other)
    create("b", tenant=world.other)
    create("a")
    create("b")
    unchanged()
    with pytest.raises(LimitExceeded) as refusal:
        create("c")
    assert refusal.value.code == "PlacementGroupLimitExceeded"
    unchanged()


@pytest.fixture
def three(create, world):
    """A group of each strategy, and another account's of the first one's name; gives their ids by name."""
    create("a", tenant=world.other, tags={"k": "v"})
    made = [
        create("c", "partition", partitions=3),
        create("a", tags={"k": "v"}),
        create("b", "spread"),
    ]
    return {one.group.name: one.group.id for one in made}


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("strategy", ["cluster", "partition"], ["a", "c"]),
        ("group-name", ["b*"], ["b"]),
        ("group-arn", ["arn:aws:ec2:us-east-1:111111111111:placement-group/a"], ["a"]),
        ("group-arn", ["arn:aws:ec2:us-east-1:222222222222:placement-group/a"], []),
        ("partition-count", ["3"], ["c"]),
        ("partition-count", ["2"], []),
        ("spread-level", ["rack"], ["b"]),
        ("state", ["available"], ["a", "b", "c"]),
        ("state", ["deleted"], []),
        ("tag:k", ["v"], ["a"]),
        ("tag:k", ["w"], []),
    ],
)
def test_groups_are_found_by_what_they_are(three, names, name, values, found):
    assert names(by(name, *values)) == found
    assert three


def test_an_accounts_groups_are_listed_by_name(three, names, world, run):
    assert names() == ["a", "b", "c"]
    assert names(tenant=world.other) == ["a"]
    described = run(placement_groups.describe, world.one.caller, CLOUD, ALL, [])
    assert [(one.arn.rsplit("/")[-1], list(one.tags)) for one in described] == [
        ("a", [("k", "v")]),
        ("b", []),
        ("c", []),
    ]
    assert {one.group.id for one in described} == set(three.values())


def test_groups_that_are_named_have_to_be_there(three, names, world):
    assert names(ALL, "c", "a", "c") == ["a", "c"]
    assert names(of_ids(three["b"])) == ["b"]
    assert names(of_ids(three["b"], three["a"]), "b", "c") == ["b"]
    assert names(by("strategy", "spread"), "a") == []
    for asked, *named in ((ALL, "a", "nobody"), (of_ids(three["b"], ids.new_id("placement-group")),)):
        with pytest.raises(NotFound):
            names(asked, *named)
    for asked, *named in ((ALL, "b"), (of_ids(three["b"]),)):
        with pytest.raises(NotFound):
            names(asked, *named, tenant=world.other)
    with pytest.raises(MalformedId):
        names(of_ids("pg-1"))


def test_a_deleted_group_takes_its_tags_along_and_nothing_of_others(three, run, world, names):
    run(placement_groups.remove, world.one.caller, "a")
    assert names() == ["b", "c"]
    assert names(tenant=world.other) == ["a"]
    tagged = select(Tag.account_id).where(Tag.resource_type == "placement-group")
    assert run(lambda tx: list(tx.session.scalars(tagged))) == [world.other.caller.account_id]
    with pytest.raises(NotFound):
        run(placement_groups.remove, world.one.caller, "a")
    with pytest.raises(NotFound):
        run(placement_groups.remove, world.other.caller, "b")
    assert run(lambda tx: len(list(tx.session.scalars(select(PlacementGroup))))) == len(three)
