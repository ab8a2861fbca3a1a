import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.blocks.bad_image import BadImageError
from stead_controller.blocks.qcow2_header import HEADER_BYTES, parse


def header(
    *, version=3, backing=0, backing_size=0, cluster_bits=16, size=1 << 30, crypt=0, snapshots=0, incompatible=0
) -> bytes:
    head = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb",
        version,
        backing,
        backing_size,
        cluster_bits,
        size,
        crypt,
        1,
        0x30000,
        0x10000,
        1,
        snapshots,
        0,
    )
    return (head + struct.pack(">QQQII", incompatible, 0, 0, 4, 104)).ljust(HEADER_BYTES, b"\0")


def test_a_plain_header_gives_the_disk_size():
    assert parse(header(size=5 << 30)).virtual_size == 5 << 30
    assert parse(header(version=2)).cluster_bits == 16
    assert parse(header(incompatible=1 << 3 | 1 << 4)).virtual_size == 1 << 30


@pytest.mark.parametrize(
    "bad",
    [
        {"backing": 0x200, "backing_size": 11},
        {"backing": 0x200},
        {"backing_size": 1},
        {"incompatible": 1 << 2},  # external data file
        {"incompatible": 1 << 1},
        {"incompatible": 1},
        {"incompatible": 1 << 5},
        {"incompatible": 1 << 63},
        {"crypt": 1},
        {"crypt": 2},
        {"snapshots": 1},
        {"version": 1},
        {"version": 4},
        {"cluster_bits": 8},
        {"cluster_bits": 22},
        {"size": 0},
        {"size": 1 << 60},
        {"size": 511},
    ],
)
def test_what_could_reach_another_file_or_exhaust_the_host_is_refused(bad):
    with pytest.raises(BadImageError):
        parse(header(**bad))


@given(st.binary(max_size=HEADER_BYTES))
def test_any_bytes_are_a_header_or_a_refusal(data):
    for candidate in (data, b"QFI\xfb" + data):
        try:
            parsed = parse(candidate)
        except BadImageError:
            continue  # a refusal is the other good answer
        assert 0 < parsed.virtual_size <= 64 << 40
