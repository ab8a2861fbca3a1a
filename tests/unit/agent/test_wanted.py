"""What a message of the controller changes: by revision, whatever is repeated, late or from another epoch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.wanted import Held, Key, OtherEpochError, Wanted, change_of, key_of
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1.host_pb2 import DesiredState
from tests.support import desired_states as make

MACHINE = Key(pb.KIND_MACHINE, "i-1")
VOLUME = Key(pb.KIND_VOLUME, "vol-1")


def _take(wanted: Wanted, message: DesiredState, *, answers_hello: bool = False) -> bool:
    change = change_of(wanted, message, answers_hello=answers_hello)
    if change is not None:
        wanted.install(change)
    return change is not None


def _known() -> tuple[Wanted, make.Sender]:
    wanted, sender = Wanted(), make.Sender()
    assert _take(wanted, sender.change(make.host_network(), *make.launch(), full=True))
    return wanted, sender


def test_a_full_state_is_the_beginning() -> None:
    wanted, sender = _known()
    assert wanted.resources == sender.resources
    assert (wanted.revision, wanted.epoch) == (1, "epoch-1")


def test_a_delta_before_any_full_state_is_refused() -> None:
    with pytest.raises(OtherEpochError):
        change_of(Wanted(), make.Sender().change(make.host_network()))


def test_older_messages_change_nothing() -> None:
    wanted, sender = _known()
    removal = sender.change(gone=(MACHINE,))
    assert _take(wanted, removal)
    assert not _take(wanted, sender.sent[0])
    assert MACHINE in wanted.tombstones


def test_a_repeated_removal_is_done_once() -> None:
    wanted, sender = _known()
    removal = sender.change(gone=(MACHINE,), force=True)
    _take(wanted, removal)
    wanted.mark_done(MACHINE)
    assert _take(wanted, removal)
    assert wanted.tombstones[MACHINE].done
    assert wanted.tombstones[MACHINE].force


def test_force_is_not_taken_back() -> None:
    wanted, sender = _known()
    _take(wanted, sender.change(gone=(MACHINE,), force=True))
    _take(wanted, sender.change(gone=(MACHINE,)))
    assert wanted.tombstones[MACHINE].force


def test_a_tombstone_has_the_last_state_and_a_new_resource_replaces_it() -> None:
    wanted, sender = _known()
    _take(wanted, sender.change(gone=(VOLUME,)))
    stone = wanted.tombstones[VOLUME]
    assert stone.body is not None
    assert stone.body.volume.base_id == "snap-1"
    _take(wanted, sender.change(make.volume("vol-1", size=5)))
    assert VOLUME not in wanted.tombstones
    assert wanted.resources[VOLUME].volume.size == 5


def test_a_full_state_buries_what_it_does_not_name_and_forgets_what_is_done() -> None:
    wanted, sender = _known()
    _take(wanted, sender.change(gone=(MACHINE,)))
    wanted.mark_done(MACHINE)
    sender.removals.clear()
    sender.resources.pop(VOLUME)
    _take(wanted, sender.full())
    assert MACHINE not in wanted.tombstones
    assert VOLUME in wanted.tombstones
    assert wanted.resources == sender.resources


def test_an_older_full_state_counts_only_as_the_answer_to_hello() -> None:
    wanted, sender = _known()
    old = sender.full()
    _take(wanted, sender.change(make.group(port=80)))
    assert not _take(wanted, old)
    assert _take(wanted, old, answers_hello=True)
    assert wanted.revision == 1
    assert wanted.resources[Key(pb.KIND_SECURITY_GROUP, "sg-1")].revision == 1


def test_another_epoch_starts_the_count_anew_for_tombstones_too() -> None:
    wanted, sender = _known()
    for port in range(10):
        _take(wanted, sender.change(make.group(port=port)))
    _take(wanted, sender.change(gone=(MACHINE, VOLUME)))
    other = make.Sender("epoch-2")
    assert _take(wanted, other.change(make.host_network(), full=True))
    assert wanted.tombstones[MACHINE].revision == 1
    assert _take(wanted, other.change(*make.launch()))
    assert MACHINE in wanted.resources
    assert wanted.tombstones == {}


def test_kinds_of_the_future_are_named_and_left_alone() -> None:
    wanted, _ = _known()
    message = DesiredState(revision=2, epoch="epoch-1", resources=[pb.Resource(id="nat-1", revision=2)])
    change = change_of(wanted, message)
    assert change is not None
    assert change.unknown == ("nat-1",)
    assert change.put == ()


def test_indexes_follow() -> None:
    wanted, sender = _known()
    assert wanted.users(VOLUME) == {MACHINE}
    interface = Key(pb.KIND_INTERFACE, "eni-1")
    assert interface in wanted.members("vpc-1")
    _take(wanted, sender.change(make.machine("i-1", volumes=(), interfaces=("eni-1",)), gone=(VOLUME,)))
    assert wanted.users(VOLUME) == set()
    assert wanted.users(interface) == {MACHINE}
    _take(wanted, sender.change(gone=(interface,)))
    assert interface in wanted.members("vpc-1")  # as long as it is being removed
    wanted.mark_done(interface)
    assert interface not in wanted.members("vpc-1")


def test_holdings_are_found_from_both_sides() -> None:
    wanted = Wanted()
    wanted.hold("i-1", Held(frozenset({"vol-1"}), frozenset({"eni-1"})))
    wanted.hold("i-2", Held(frozenset({"vol-1"})))
    assert wanted.holders(VOLUME) == {"i-1", "i-2"}
    wanted.hold("i-1", Held())
    assert wanted.holders(VOLUME) == {"i-2"}
    assert wanted.holding_machines() == {"i-2"}


_names = st.sampled_from("123")


@given(
    changes=st.lists(st.tuples(st.sampled_from(["put", "remove"]), _names, st.integers(1, 3)), max_size=15),
    arrivals=st.lists(st.integers(0, 30), max_size=40),
)
def test_however_messages_are_repeated_the_end_is_the_same(
    changes: list[tuple[str, str, int]], arrivals: list[int]
) -> None:
    sender = make.Sender()
    first = sender.change(make.host_network(), full=True)
    for what, name, size in changes:
        key = Key(pb.KIND_VOLUME, f"vol-{name}")
        if what == "put":
            sender.change(make.volume(key.id, size=size))
        elif key in sender.resources:
            sender.change(gone=(key,))
    wanted = Wanted()
    _take(wanted, first)
    messages = sender.sent[1:]
    upto = 0
    for number in arrivals:  # each message for the first time in order, and old ones in between, as from a slow path
        if upto < len(messages):
            _take(wanted, messages[upto])
            upto += 1
        if upto:
            _take(wanted, messages[number % upto])
    for message in messages[upto:]:
        _take(wanted, message)
    assert wanted.resources == sender.resources
    assert set(wanted.tombstones) == set(sender.removals)
    assert wanted.revision == sender.revision


def test_every_body_has_a_key() -> None:
    kinds = set()
    for field in pb.Resource.DESCRIPTOR.oneofs_by_name["body"].fields:
        resource = pb.Resource(id="it")
        getattr(resource, field.name).SetInParent()
        key = key_of(resource)
        assert key is not None
        kinds.add(key.kind)
    assert kinds == set(pb.Kind.values()) - {pb.KIND_UNSPECIFIED}
