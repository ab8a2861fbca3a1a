"""The checker itself: what it must notice, and what it must let pass."""

import pytest

from tests.recovery.storm.model import GONE, Call, Facts, Model

A, B = "volume-1", "volume-2"
FREE: Facts = {"id": "vol-1", "state": "available", "attached": ""}
USED: Facts = {"id": "vol-1", "state": "in-use", "attached": "instance-1"}


def acknowledged(*calls: Call) -> Model:
    model = Model()
    for call in calls:
        model.begin(call)
        model.acknowledge(call, {})
    return model


def doubted(model: Model, call: Call) -> Model:
    model.begin(call)
    model.doubt(call)
    return model


MADE = acknowledged(Call("create_volume", {A: FREE}))


def test_what_is_as_acknowledged_passes() -> None:
    assert MADE.differences({A: FREE}) == []
    assert Model().differences({}) == []


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        ({}, "volume-1 is gone"),
        ({A: {**FREE, "state": "creating"}}, "state is 'creating', and should be 'available'"),
        ({A: {**FREE, "attached": "instance-1"}}, "attached is 'instance-1'"),
        ({A: {"id": "vol-1", "attached": ""}}, "state is None"),
        ({A: FREE, B: FREE}, "volume-2 is there, and nobody made it"),
    ],
)
def test_a_cloud_that_is_otherwise_is_noticed(observed: dict[str, Facts], words: str) -> None:
    (difference,) = MADE.differences(observed)
    assert words in difference


def test_what_was_deleted_may_not_come_back() -> None:
    model = acknowledged(Call("create_volume", {A: FREE}), Call("delete_volume", {A: GONE}))
    assert model.differences({}) == []
    assert model.differences({A: FREE}) == [f"volume-1 is there, and nobody made it: {dict(FREE)}"]


def test_facts_that_were_answered_are_expected() -> None:
    model, call = Model(), Call("create_volume", {A: {"state": "available"}})
    model.begin(call)
    model.acknowledge(call, {A: {"id": "vol-1"}})
    assert model.differences({A: FREE}) == []
    assert model.differences({A: {**FREE, "id": "vol-2"}}) == ["volume-1: id is 'vol-2', and should be 'vol-1'"]


def test_a_refused_call_changes_nothing() -> None:
    model, call = acknowledged(Call("create_volume", {A: FREE})), Call("delete_volume", {A: GONE})
    model.begin(call)
    model.refuse(call)
    assert model.differences({A: FREE}) == []
    assert model.differences({}) != []


def test_a_call_whose_answer_was_lost_is_done_or_not() -> None:
    for seen in ({A: FREE}, {A: USED}):
        model = doubted(acknowledged(Call("create_volume", {A: FREE})), Call("attach_volume", {A: USED}))
        assert model.differences(seen) == []
        model.settle(seen)
        assert model.resources == seen
        assert model.free(A)
    model = doubted(Model(), Call("create_volume", {A: {"state": "available"}}))
    assert model.differences({}) == model.differences({A: FREE}) == []
    model.settle({A: FREE})
    assert model.resources == {A: FREE}


def test_a_call_whose_answer_was_lost_is_not_done_by_halves() -> None:
    both = Call("create_volume", {A: FREE, B: USED})
    used = {**FREE, "attached": "instance-1", "state": "in-use"}
    end = Call("terminate_instances", {"instance-1": GONE, B: {**FREE, "state": "available"}})
    running: Facts = {"state": "running"}
    model = doubted(acknowledged(both, Call("run_instances", {"instance-1": running})), end)
    whole = {A: FREE, "instance-1": running, B: used}
    assert model.differences(whole) == []
    assert model.differences({A: FREE, B: FREE}) == []
    assert "done by halves" in model.differences({A: FREE, B: used})[0]
    assert "done by halves" in model.differences({A: FREE, B: FREE, "instance-1": running})[0]
    assert "done by halves" in model.differences({A: FREE, B: FREE, "instance-1": {"state": "shutting-down"}})[0]


def test_what_a_call_touches_is_left_alone_until_its_outcome_is_known() -> None:
    model = acknowledged(Call("create_volume", {A: FREE}))
    call = Call("create_snapshot", {"snapshot-1": {"state": "completed"}}, frozenset({A}))
    assert model.free(A)
    model.begin(call)
    assert not model.free(A)
    assert not model.free("snapshot-1")
    with pytest.raises(AssertionError):
        model.begin(Call("delete_volume", {A: GONE}))
    model.doubt(call)
    assert not model.free(A)
    model.settle({A: FREE})
    assert model.free(A)


def test_nothing_is_compared_while_calls_are_under_way() -> None:
    model = Model()
    model.begin(Call("create_volume", {A: FREE}))
    with pytest.raises(AssertionError):
        model.differences({})


def test_one_of_several_values_is_enough() -> None:
    model = acknowledged(Call("create_snapshot", {"snapshot-1": {"state": "completed|error"}}))
    for state, is_well in (("completed", True), ("error", True), ("pending", False)):
        assert (model.differences({"snapshot-1": {"state": state}}) == []) == is_well
