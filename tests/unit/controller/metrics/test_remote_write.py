"""What is written to an engine has the labels of `labels_of`, whichever way they were encoded."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metrics.datum import Identity
from stead_controller.metrics.labels import labels_of
from stead_controller.metrics.remote_write import content_of, requests_of
from stead_controller.metrics.samples import Sample

_TEXT = st.text(min_size=1, max_size=200)
_IDENTITIES = st.builds(
    lambda account, namespace, name, dimensions: Identity(account, namespace, name, tuple(sorted(dimensions.items()))),
    _TEXT,
    _TEXT,
    _TEXT,
    st.dictionaries(_TEXT, _TEXT, max_size=2),
)
_SAMPLES = st.builds(
    Sample,
    _IDENTITIES,
    st.sampled_from(["Count", "Bytes"]),
    st.sampled_from(["value", "sum"]),
    st.integers(0, 2**45),
    st.floats(allow_nan=False),
    st.sampled_from(["", "h-1"]),
)


def _number(content, place):
    shift = number = 0
    while True:
        byte = content[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place


def _parts(content):
    """The fields of a message as pairs of number and content: protobuf's encoding, by its specification."""
    found, place = [], 0
    while place < len(content):
        tag, place = _number(content, place)
        if tag & 7 == 2:
            length, place = _number(content, place)
            found.append((tag >> 3, content[place : place + length]))
            place += length
        elif tag & 7 == 1:
            found.append((tag >> 3, struct.unpack_from("<d", content, place)[0]))
            place += 8
        else:
            number, place = _number(content, place)
            found.append((tag >> 3, number))
    return found


@given(st.lists(_SAMPLES, max_size=3))
def test_a_series_has_the_labels_of_its_metric_and_the_sample(samples):
    written = [_parts(series) for request in requests_of(samples) for _, series in _parts(content_of(request))]
    assert len(written) == len(samples)
    for parts, sample in zip(written, samples, strict=True):
        labels = [tuple(text.decode() for _, text in _parts(label)) for number, label in parts if number == 1]
        assert labels == labels_of(sample.identity, sample.unit, sample.kind, sample.source)
        [one] = [_parts(content) for number, content in parts if number == 2]
        assert one == [(1, sample.value), (2, sample.at)]
