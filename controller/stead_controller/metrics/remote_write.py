"""Samples as a request of Prometheus's remote-write protocol 1.0, which all engines of its kind take.

Source: prometheus.io/docs/specs/prw/remote_write_spec: WriteRequest as a protobuf message, in Snappy's block format.
Snappy here means its framing only: the bytes go on as literals, because the engine is most often on this machine.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from stead_controller.metrics.labels import labels_of
from stead_controller.metrics.samples import Sample

HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

_LENGTH: Final = 2  # protobuf's wire type of what has a length
_MOST_BYTES: Final = 4 << 20


def requests_of(samples: Iterable[Sample]) -> Iterable[bytes]:
    """Return the bodies of requests, each of some megabytes at most."""
    series: list[bytes] = []
    size = 0
    for sample in samples:
        one = _field(1, _series(sample))
        series.append(one)
        size += len(one)
        if size > _MOST_BYTES:
            yield _snappy(b"".join(series))
            series, size = [], 0
    if series:
        yield _snappy(b"".join(series))


def _series(sample: Sample) -> bytes:
    """Return a TimeSeries with one Sample."""
    number = b"\x09" + struct.pack("<d", sample.value) + b"\x10" + _varint(sample.at)
    return _labels(labels_of(sample.identity, sample.unit, sample.kind)) + _field(2, number)


def _labels(labels: Mapping[str, str]) -> bytes:
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels.items())


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


def _snappy(content: bytes) -> bytes:
    """Return a block of Snappy's format with the content as one literal, whose length has four bytes."""
    return _varint(len(content)) + bytes((63 << 2,)) + struct.pack("<I", len(content) - 1) + content
