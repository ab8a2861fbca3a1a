"""A roster is what it was when it was made, whatever comes later; differences are those of the whole sets."""

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.roster import Roster, came_and_gone

_SOME = st.frozensets(st.sampled_from("abcdefgh"))
_STEPS = st.lists(
    st.tuples(_SOME, _SOME, st.integers(0, 9)), max_size=60
)  # what comes and goes, and of which of the last ones


@given(_SOME, _STEPS)
def test_differences_equal_the_whole(
    first: frozenset[str], steps: list[tuple[frozenset[str], frozenset[str], int]]
) -> None:
    made: list[tuple[Roster, frozenset[str]]] = [(Roster(first), first)]
    for came, gone, back in steps:
        before, known = made[-1 - back] if back < len(made) and back > 6 else made[-1]
        made.append((before.after(came, gone), known - gone | came))
    for now, expected in made:
        assert now == expected
        assert expected == now
        assert (len(now), {*now}) == (len(expected), expected)
        assert {each for each in "abcdefgh" if each in now} == expected
    for (earlier, had), (later, has) in [*pairwise(made), (made[0], made[-1]), (made[-1], made[0])]:
        assert came_and_gone(earlier, later) == (has - had, had - has)
        assert came_and_gone(had, later) == came_and_gone(earlier, has) == (has - had, had - has)
        assert (earlier == later) is (had == has)
        assert earlier | later == had | has
        assert later - earlier == has - had
        assert (earlier <= later) is (had <= has)


def test_a_difference_looks_at_what_has_changed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = Roster(str(number) for number in range(100))
    later = earlier.after(("a",), ("7",))
    monkeypatch.setattr(Roster, "_values", None)
    assert came_and_gone(earlier, later) == ({"a"}, {"7"})
    assert came_and_gone(later, earlier) == ({"7"}, {"a"})
    assert earlier != later
    assert earlier == later.after(("7",), ("a",))


def test_of_one_that_is_not_the_latest_another_list_begins() -> None:
    first = Roster("a")
    second, other = first.after("b", ""), first.after("c", "")
    assert (first, second, other) == ({"a"}, {"a", "b"}, {"a", "c"})
    assert first.log is second.log is not other.log


def test_the_list_of_changes_does_not_grow_for_ever() -> None:
    roster = Roster("a")
    lengths = []
    for _ in range(500):
        roster = roster.after("b", "").after("", "b")
        lengths.append(len(roster.log.changes))
    assert roster == {"a"}
    assert 60 < max(lengths) < 75


def test_what_changes_nothing_is_not_noted() -> None:
    roster = Roster("a").after("a", "b")
    assert roster.log.changes == []
    assert roster == {"a"}


def test_a_reader_sees_no_change_that_comes_meanwhile() -> None:
    """Another thread has noted a change, and not made it yet."""
    roster = Roster("ab")
    roster.log.changes += [("c", True), ("a", False)]
    assert roster == {"a", "b"}
    assert ("c" in roster, "a" in roster) == (False, True)
    roster.log.now ^= {"a", "c"}
    assert roster == {"a", "b"}
    assert ("c" in roster, "a" in roster) == (False, True)


def test_it_is_stored_shown_and_hashed_as_a_set() -> None:
    roster = Roster("a").after("b", "")
    stored = pickle.loads(pickle.dumps(roster))
    assert (type(stored), stored) == (frozenset, {"a", "b"})
    assert repr(roster) == "Roster(['a', 'b'])"
    assert hash(roster) == hash(frozenset("ab"))
    assert roster != "ab"
