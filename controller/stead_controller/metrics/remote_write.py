"""Samples as a request of Prometheus's remote-write protocol 1.0, which all engines of its kind take.

Source: prometheus.io/docs/specs/prw/remote_write_spec: WriteRequest as a protobuf message, in Snappy's block format.
Snappy here means its framing only: the bytes go on as literals, because the engine is most often on this machine.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from stead_controller.metrics.labels import ID_LENGTH, NAME, dimension_label, id_of, labels_of
from stead_controller.metrics.samples import Sample

HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

_LENGTH: Final = 2  # protobuf's wire type of what has a length
_MOST_BYTES: Final = 4 << 20
# That are remembered, of 250 bytes: each serves the metrics of an instance, which come together. The next come a minute
# later, and of more instances than are remembered none would be found then.
_MOST_LABELS: Final = 1024
_MOST_TIMES: Final = 256
_DOUBLE: Final = struct.Struct("<d")


def requests_of(samples: Iterable[Sample]) -> Iterable[bytes]:
    """Return the bodies of requests, each of some megabytes at most."""
    series: list[bytes] = []
    size = 0
    for sample in samples:
        one = _field(1, _series(sample))
        series.append(one)
        size += len(one)
        if size > _MOST_BYTES:
            yield framed(b"".join(series))
            series, size = [], 0
    if series:
        yield framed(b"".join(series))


def framed(content: bytes) -> bytes:
    """Return a block of Snappy's format with the content as one literal, whose length has four bytes."""
    return _varint(len(content)) + bytes((63 << 2,)) + struct.pack("<I", len(content) - 1) + content


def content_of(block: bytes) -> bytes:
    """Return the content of a block that `framed` made; those of several blocks together are one request's, too."""
    end_of_length = next(place for place, byte in enumerate(block) if byte < 128)
    return block[end_of_length + 1 + 5 :]


def _series(sample: Sample) -> bytes:
    """Return a TimeSeries with one Sample."""
    time = _time(sample.at)
    return b"".join(
        (_labels(sample), b"\x12", bytes((10 + len(time),)), b"\x09", _DOUBLE.pack(sample.value), b"\x10", time)
    )


def _labels(sample: Sample) -> bytes:
    """Return the labels of `labels_of`, encoded; what many series of hosts' metrics have alike is encoded once."""
    identity = sample.identity
    if len(identity.dimensions) != 1:
        labels = labels_of(identity, sample.unit, sample.kind, sample.source)
        return b"".join(_label_of_one(*label) if label[0] == "id" else _label(*label) for label in labels)
    [(name, value)] = identity.dimensions
    return b"".join(
        (
            _before(identity.account),
            _label(dimension_label(name), value),
            _ID,
            id_of(identity).encode("ascii"),
            _after(sample.kind, identity.name, identity.namespace, sample.source, sample.unit),
        )
    )


@lru_cache(_MOST_LABELS)
def _before(account: str) -> bytes:
    return _label_of_one("__name__", NAME) + _label_of_one("account", account)


@lru_cache(_MOST_LABELS)
def _after(kind: str, metric: str, namespace: str, source: str, unit: str) -> bytes:
    labels = [("kind", kind), ("metric", metric), ("namespace", namespace), ("source", source), ("unit", unit)]
    return b"".join(_label_of_one(*label) for label in labels if label != ("source", ""))


def _label_of_one(name: str, value: str) -> bytes:
    return _field(1, _field(1, name.encode()) + _field(2, value.encode()))


_label: Final = lru_cache(_MOST_LABELS)(_label_of_one)


@lru_cache(_MOST_TIMES)
def _time(milliseconds: int) -> bytes:
    return _varint(milliseconds)


def _field(number: int, content: bytes) -> bytes:
    length = len(content)
    head = bytes((number << 3 | _LENGTH, length)) if length < 128 else bytes((number << 3 | _LENGTH,)) + _varint(length)
    return head + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


# The label `id` without its value, whose length is always the same.
_ID: Final = _label_of_one("id", "0" * ID_LENGTH)[:-ID_LENGTH]
