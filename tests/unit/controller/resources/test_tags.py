"""Tags are all or nothing, limited, and the caller's own."""

import pytest

from stead_controller.desired import desired_state
from stead_controller.errors import (
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    MissingParameter,
    NotFound,
)
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources import tags
from stead_controller.resources.tags import TagToDelete
from tests.support import rows
from tests.support.rows import NOW

ABSENT = "i-00000000000000000"


@pytest.fixture
def refreshed(monkeypatch):
    seen = []
    monkeypatch.setattr(desired_state, "refresh_instance", lambda _tx, instance_id: seen.append(instance_id))
    return seen


@pytest.fixture
def instance_id(world, run):
    return run(lambda tx: rows.launch(tx, world, world.one).id)


def listed(run, caller, *filters, **paging):
    asked = Selection(filters=tuple(Filter(name, values) for name, values in filters), **paging)
    return [(tag.resource_id, tag.key, tag.value) for tag in run(tags.describe_tags, caller, asked)]


def test_tags_of_every_type_we_have(world, run, instance_id):
    caller = world.one.caller
    tenant = world.one
    resources = [instance_id, tenant.vpc_id, tenant.subnet_ids[0], tenant.group_id]
    run(tags.create_tags, caller, resources, {"a": "1", "b": ""}, NOW)
    assert listed(run, caller) == sorted(
        (resource, key, value) for resource in resources for key, value in [("a", "1"), ("b", "")]
    )
    assert listed(run, world.other.caller) == []
    run(tags.create_tags, caller, [instance_id], {"a": "2"}, NOW)
    assert (instance_id, "a", "2") in listed(run, caller)
    assert run(tags.pairs_of, caller.account_id, [instance_id]) == {instance_id: [("a", "2"), ("b", "")]}


def test_one_bad_resource_spoils_all(world, run, instance_id, unchanged):
    unchanged()
    for bad, error in [
        (ABSENT, NotFound),
        (world.other.vpc_id, NotFound),
        ("igw-00000000000000000", NotFound),
        ("nonsense", MalformedId),
        ("i-XYZ", MalformedId),
        (world.image_id, NotFound),
    ]:
        with pytest.raises(error):
            run(tags.create_tags, world.one.caller, [instance_id, bad], {"a": "1"}, NOW)
        with pytest.raises(error):
            run(tags.delete_tags, world.one.caller, [instance_id, bad], None, NOW)
    with pytest.raises(MissingParameter):
        run(tags.create_tags, world.one.caller, [], {"a": "1"}, NOW)
    with pytest.raises(MissingParameter):
        run(tags.create_tags, world.one.caller, [instance_id], {}, NOW)
    unchanged()


def test_malformed_comes_before_absent(world, run):
    with pytest.raises(MalformedId):
        run(tags.create_tags, world.one.caller, [ABSENT, "i-1"], {"a": "1"}, NOW)


def test_fifty_tags_and_no_more(world, run, instance_id, unchanged):
    caller = world.one.caller
    run(tags.create_tags, caller, [instance_id], {f"k{number}": "" for number in range(50)}, NOW)
    run(tags.create_tags, caller, [instance_id], {f"k{number}": "changed" for number in range(50)}, NOW)
    unchanged()
    with pytest.raises(LimitExceeded) as refusal:
        run(tags.create_tags, caller, [world.one.vpc_id, instance_id], {"k0": "again", "one": "more"}, NOW)
    assert refusal.value.code == "TagLimitExceeded"
    unchanged()


def test_delete_by_key_by_pair_and_all(world, run, instance_id):
    caller = world.one.caller
    run(tags.create_tags, caller, [instance_id], {"a": "1", "b": "2", "c": "", "d": "4", "e": ""}, NOW)
    run(tags.delete_tags, caller, [instance_id], [TagToDelete("a"), TagToDelete("b", "no"), TagToDelete("c", "")], NOW)
    assert [key for _, key, _ in listed(run, caller)] == ["b", "d", "e"]
    run(tags.delete_tags, caller, [instance_id], [TagToDelete("b", "2"), TagToDelete("gone")], NOW)
    assert [key for _, key, _ in listed(run, caller)] == ["d", "e"]
    with pytest.raises(InvalidParameter):
        run(tags.delete_tags, caller, [instance_id], [TagToDelete("aws:x")], NOW)
    run(tags.delete_tags, caller, [instance_id], None, NOW)
    assert listed(run, caller) == []


def test_guests_that_see_their_tags_get_changes(world, run, refreshed):
    caller = world.one.caller
    seeing = run(lambda tx: rows.launch(tx, world, world.one, metadata_tags=True).id)
    blind = run(lambda tx: rows.launch(tx, world, world.one, number=1).id)
    run(tags.create_tags, caller, [seeing, blind, world.one.vpc_id], {"a": "1"}, NOW)
    assert refreshed == [seeing]
    run(tags.delete_tags, caller, [blind], None, NOW)
    assert refreshed == [seeing]
    run(tags.delete_tags, caller, [seeing], [TagToDelete("a")], NOW)
    assert refreshed == [seeing, seeing]


@pytest.mark.parametrize("key", ["a b", "a/b", ".", "..", "_index", "ä"])
def test_keys_that_are_no_paths_are_refused_where_guests_see_them(world, run, refreshed, unchanged, key):
    seeing = run(lambda tx: rows.launch(tx, world, world.one, metadata_tags=True).id)
    unchanged()
    with pytest.raises(InvalidParameter):
        run(tags.create_tags, world.one.caller, [seeing], {key: "1"}, NOW)
    unchanged()
    assert refreshed == []


def test_describe_filters_and_pages(world, run, instance_id):
    caller = world.one.caller
    run(tags.create_tags, caller, [instance_id, world.one.vpc_id], {"Name": "web", "x": "1"}, NOW)
    assert len(listed(run, caller)) == 4
    assert listed(run, caller, ("key", ("N*",)), ("resource-type", ("vpc",))) == [(world.one.vpc_id, "Name", "web")]
    assert listed(run, caller, ("resource-id", (instance_id,)), ("value", ("1",))) == [(instance_id, "x", "1")]
    assert len(listed(run, caller, ("tag:Name", ("web", "db")))) == 2
    assert listed(run, caller, ("key", ("name",))) == []
    first = listed(run, caller, limit=3)
    rest = listed(run, caller, after=first[-1][:2])
    assert [*first, *rest] == listed(run, caller)


def test_create_on_launch(world, run, instance_id):
    run(
        tags.create_on_launch,
        world.one.caller,
        [("instance", instance_id)],
        {"instance": {"a": "1"}, "volume": {"b": "2"}},
    )
    assert listed(run, world.one.caller) == [(instance_id, "a", "1")]
