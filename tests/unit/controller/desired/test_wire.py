"""Updates put together from stored bytes are what protobuf itself would have written."""

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.desired import wire
from stead_controller.desired.messages.body import encode
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_revisions = st.integers(0, 2**63 - 1)
_ids = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=200)


@given(
    _revisions, st.booleans(), st.lists(st.tuples(_ids, _revisions, _revisions)), st.lists(st.tuples(_ids, _revisions))
)
def test_an_update_is_what_protobuf_would_write(revision, full, resources, removals):
    pieces = [wire.resource(encode(name, desired.Volume(size=size)), at) for name, size, at in resources]
    pieces += [wire.removal(desired.KIND_VOLUME, name, at, force=True) for name, at in removals]
    state = pb.DesiredState(revision=revision, epoch="e", full=full)
    for name, size, at in resources:
        state.resources.add(id=name, revision=at, volume=desired.Volume(size=size))
    for name, at in removals:
        state.removals.add(kind=desired.KIND_VOLUME, id=name, revision=at, force=True)
    assert pb.HostUpdate.FromString(wire.update(revision, "e", pieces, full=full)) == pb.HostUpdate(state=state)
    state.patient = True
    sent = wire.update(revision, "e", pieces, full=full, patient=True)
    assert pb.HostUpdate.FromString(sent) == pb.HostUpdate(state=state)
