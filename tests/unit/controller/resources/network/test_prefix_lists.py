"""Every version of a prefix list keeps the entries that it had, whatever is changed later."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead_controller.desired import prefix_list_blocks
from stead_controller.errors import SteadError
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import prefix_lists
from stead_controller.resources.network.prefix_lists import Change, Entry, NewList
from tests.support.examples import examples
from tests.support.rows import NOW

_cidrs = st.integers(0, 5).map(lambda number: f"10.{number}.0.0/16")
_added = st.dictionaries(_cidrs, st.sampled_from([None, "a", "b"]), max_size=4)
_changes = st.tuples(st.just("modify"), _added, st.sets(_cidrs, max_size=3))
_restores = st.tuples(st.just("restore"), st.integers(1, 6), st.none())


@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(_changes | _restores, max_size=8))
def test_versions_are_stored(world, run, steps):
    once = Repeatable("CreateManagedPrefixList", "", "")
    asked = NewList("n", "IPv4", 5)
    list_id = run(prefix_lists.create, world.one.caller, asked, repeatable=once, now=NOW)
    versions = [{}]
    for kind, first, second in steps:
        current = len(versions)
        try:
            if kind == "restore":
                run(prefix_lists.restore, world.one.caller, list_id, previous=first, current=current)
                versions.append(versions[first - 1])
            else:
                added = tuple(Entry(cidr, text) for cidr, text in first.items())
                change = Change(current, add=added, remove=tuple(second))
                run(prefix_lists.modify, world.one.caller, list_id, change)
                if first or second:
                    remaining = {cidr: text for cidr, text in versions[-1].items() if cidr not in second}
                    versions.append(remaining | first)
        except SteadError:
            pass  # refused: all versions must be as they were
    for number, wanted in enumerate(versions, 1):
        found = run(prefix_lists.entries, world.one.caller, list_id, number, Selection())
        assert {one.cidr: one.description for one in found} == wanted
    assert run(prefix_list_blocks.blocks, list_id) == sorted(versions[-1])
    run(prefix_lists.remove, world.one.caller, list_id)


def test_too_old_versions_are_forgotten(world, run, monkeypatch):
    monkeypatch.setattr(prefix_lists, "MAX_VERSIONS", 2)
    once = Repeatable("CreateManagedPrefixList", "", "")
    list_id = run(prefix_lists.create, world.one.caller, NewList("n", "IPv4", 5), repeatable=once, now=NOW)
    for version in range(1, 4):
        change = Change(
            version, add=(Entry(f"10.{version}.0.0/16"),), remove=(f"10.{version - 1}.0.0/16",)[: version - 1]
        )
        run(prefix_lists.modify, world.one.caller, list_id, change)
    assert run(prefix_lists.entries, world.one.caller, list_id, 3, Selection())[0].cidr == "10.2.0.0/16"
    with pytest.raises(SteadError):
        run(prefix_lists.entries, world.one.caller, list_id, 2, Selection())
