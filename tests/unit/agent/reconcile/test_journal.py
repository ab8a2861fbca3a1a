"""What a journal hands out is what it had then, whatever comes later, and costs nothing until it is read."""

import pickle
from collections.abc import Set as AbstractSet

from hypothesis import given
from hypothesis import strategies as st

from stead_agent.reconcile.journal import Journal, View

_CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 9) | st.none(), st.booleans()), max_size=300
)  # None: it goes; and whether it is read at once


def _sorted(values: dict[str, int], without: AbstractSet[str]) -> tuple[int, ...]:
    return tuple(sorted(value for key, value in values.items() if key not in without))


def _itself(_key: str, value: int) -> int:
    return value


@given(_CHANGES)
def test_what_was_handed_out_stays_as_it_was(changes: list[tuple[str, int | None, bool]]) -> None:
    journal = Journal(_sorted, _itself)
    now: dict[str, int] = {}
    seen: list[tuple[View[int], tuple[int, ...]]] = []
    for key, value, is_read in changes:
        if value is None:
            journal.drop(key)
            now.pop(key, None)
        else:
            journal.put(key, value)
            now[key] = value
        assert journal.values == now
        seen += [(journal.view(each), _sorted(now, each)) for each in (frozenset[str](), frozenset("a"))]
        assert not is_read or seen[-1][0] == seen[-1][1]
    for view, expected in seen:
        assert view == expected
        assert (*view,) == expected
        assert len(view) == len(expected)


def test_the_same_object_shows_that_nothing_has_changed() -> None:
    journal = Journal(_sorted, _itself)
    journal.put("a", 1)
    first = journal.view(frozenset("b"))
    journal.drop("c")  # which is not there
    assert journal.view(frozenset("b")) is first
    assert journal.view(frozenset()) is not first
    again = journal.view(frozenset("b"))
    journal.put("a", 1)
    assert journal.view(frozenset("b")) is not again


def test_a_view_is_read_from_the_last_one_on_that_was_read() -> None:
    journal = Journal(_sorted, _itself)
    journal.put("a", 1)
    first = journal.view(frozenset())
    assert first == (1,)
    journal._changes[0] = ("a", 9)  # is not looked at again
    for number in (2, 3):
        journal.put("b", number)
        later = journal.view(frozenset())
    assert later == (1, 3)
    assert later.before is None  # nothing is kept of what was before


def test_what_was_read_before_the_changes_were_made_shorter_is_not_gone_on_from() -> None:
    journal = Journal(_sorted, _itself)
    journal.put("gone", 1)
    journal.put("a", 1)
    assert journal.view(frozenset()) == (1, 1)
    journal.drop("gone")
    for number in range(100):
        journal.put("a", number)
        view = journal.view(frozenset())
    assert view == (99,)


def test_few_changes_are_added_to_those_before() -> None:
    journal = Journal(_sorted, _itself)
    journal.put("a", 1)
    before = journal._changes
    journal.put("a", 2)
    assert journal._changes is before


def test_however_often_a_value_changes_only_the_last_changes_are_kept() -> None:
    journal = Journal(_sorted, _itself)
    for number in range(10_000):
        journal.put("ab"[number % 2], number)
    assert len(pickle.dumps(journal._changes)) < 10_000
    assert (*journal.view(frozenset()),) == (9998, 9999)


def test_it_is_read_once_and_is_stored_and_compared_as_what_it_has() -> None:
    reads = []

    def read(values: dict[str, int], without: AbstractSet[str]) -> tuple[int, ...]:
        reads.append(1)
        return _sorted(values, without)

    journal = Journal(read, _itself)
    journal.put("a", 2)
    journal.put("b", 1)
    view, other = journal.view(frozenset()), Journal(_sorted, _itself)
    assert view == journal.view(frozenset())
    assert not reads
    assert (*view, *view) == (1, 2, 1, 2)
    assert reads == [1]
    assert pickle.loads(pickle.dumps(view)) == (1, 2)
    assert 2 in view
    assert 3 not in view
    other.put("c", 1)
    assert view != other.view(frozenset())
    other.put("d", 2)
    assert view == other.view(frozenset())
    assert {view: "here"}[other.view(frozenset())] == "here"
    assert repr(view) == "(1, 2)"


def test_of_each_value_is_made_what_is_read_and_once() -> None:
    made = []

    def make(key: str, value: int) -> int:
        made.append(key)
        return value * 10

    journal = Journal(_sorted, make)
    for number, key in enumerate("abc"):
        journal.put(key, number)
    unread = journal.view(frozenset())
    assert made == []
    assert journal.view(frozenset("a")) == (10, 20)
    journal.put("a", 9)
    assert journal.view(frozenset()) == (10, 20, 90)
    assert made == ["a", "b", "c", "a"]
    assert unread == (0, 10, 20)
