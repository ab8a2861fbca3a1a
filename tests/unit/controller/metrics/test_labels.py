"""Identities as labels, and back."""

import re

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metrics.datum import Identity
from stead_controller.metrics.labels import dimension_label, id_of, identity_of, labels_of

_TEXT = st.text(min_size=1, max_size=20)
_IDENTITIES = st.builds(
    lambda account, namespace, name, dimensions: Identity(account, namespace, name, tuple(sorted(dimensions.items()))),
    _TEXT,
    _TEXT,
    _TEXT,
    st.dictionaries(_TEXT, _TEXT, max_size=4),
)


@given(_IDENTITIES, st.sampled_from(["", "h-1"]))
def test_an_identity_is_read_back_from_its_labels(identity, source):
    labels = labels_of(identity, "Count", "value", source)
    assert ("source" in dict(labels)) == bool(source)
    assert identity_of(dict(labels)) == identity
    assert labels == sorted(labels)
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name, _ in labels)


def test_only_letters_and_digits_stay_as_they_are():
    assert dimension_label("InstanceId") == "d_InstanceId"
    assert dimension_label("a b_c") == "d_a_20b_5fc"


@given(_IDENTITIES, _IDENTITIES)
def test_each_metric_has_an_id_of_its_own(one, other):
    assert (id_of(one) == id_of(other)) == (one == other)
    assert re.fullmatch("[A-Za-z0-9_-]{16}", id_of(one))


def test_where_a_part_ends_counts():
    assert id_of(Identity("1", "ab", "c")) != id_of(Identity("1", "a", "bc"))
