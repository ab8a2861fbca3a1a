import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.blocks.image_files import IncomingImage
from stead_controller.blocks.qcow2_header import HEADER_BYTES, BadImageError, parse


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


def upload(folder, content, image_format="qcow2", announced=None):
    with IncomingImage(folder, "ami-1", image_format, announced or len(content)) as image:
        for start in range(0, len(content), 50):
            image.write(content[start : start + 50])
        return image.finish()


def test_an_upload_is_hashed_and_put_in_place(tmp_path):
    content = header(size=1 << 20) + b"x" * 1000
    size, digest = upload(tmp_path, content)
    assert size == 1 << 20
    assert len(digest) == 64
    assert (tmp_path / "ami-1").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["ami-1"]


@pytest.mark.parametrize(
    ("content", "image_format", "announced"),
    [
        (header(backing=9, backing_size=3), "qcow2", None),
        (b"\0" * 512, "qcow2", None),
        (b"\0" * 513, "raw", None),
        (header(), "qcow2", HEADER_BYTES + 1),
        (header(), "qcow2", HEADER_BYTES - 1),
        (header(), "vmdk", None),
    ],
)
def test_a_refused_upload_leaves_nothing(tmp_path, content, image_format, announced):
    with pytest.raises(BadImageError):
        upload(tmp_path, content, image_format, announced)
    assert list(tmp_path.iterdir()) == []


def test_a_raw_disk_whose_first_bytes_are_a_qcow2_header_stays_raw(tmp_path):
    size, _ = upload(tmp_path, header(backing=9, backing_size=3).ljust(1024, b"\0"), "raw")
    assert size == 1024
