import pytest

from stead_controller.db import wakes
from stead_controller.db.wakes import Wakes

LIMIT = 8000  # bytes of a notification of PostgreSQL


def test_who_is_to_be_woken_survives_the_way():
    sent = Wakes(
        events={"i-1"},
        revision=7,
        scaling=True,
        gathers=True,
        removed_hosts={"h-1"},
        trace="00-a-b-01",
        request="req-1",
    )
    (text,) = wakes.written(sent, "me")
    assert wakes.read(text) == ("me", sent)


@pytest.mark.parametrize("name", ["workflows", "makes_room", "scaling", "notifies"])
def test_each_flag_alone_is_told(name):
    (text,) = wakes.written(Wakes(**{name: True}), "me")
    assert wakes.read(text)[1] == Wakes(**{name: True})


@pytest.mark.parametrize("sent", [Wakes(revision=0), Wakes(events={"i-1"}), Wakes(removed_hosts={"h-1"})])
def test_so_is_each_other_thing(sent):
    (text,) = wakes.written(sent, "me")
    assert wakes.read(text)[1] == sent


def test_nothing_is_told_of_nothing():
    assert wakes.written(Wakes(), "me") == []


def test_many_events_are_told_in_pieces_that_fit():
    events = {f"i-{number:038}" for number in range(1000)}
    texts = wakes.written(Wakes(events=events, revision=3), "me")
    assert max(map(len, texts)) < LIMIT
    found = [wakes.read(text)[1] for text in texts]
    assert set().union(*(each.events for each in found)) == events
    assert [each.revision for each in found] == [3] + [None] * (len(found) - 1)


@pytest.mark.parametrize("text", ["{", "{}"])
def test_what_nobody_of_ours_wrote_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        wakes.read(text)


def test_who_missed_something_looks_at_all():
    assert wakes.everything() == Wakes(revision=0, workflows=True, makes_room=True, scaling=True, notifies=True)
