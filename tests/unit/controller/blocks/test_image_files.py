import struct

import pytest

from stead_controller.blocks.bad_image import BadImageError
from stead_controller.blocks.image_files import IncomingImage
from stead_controller.blocks.qcow2_header import HEADER_BYTES
from tests.unit.controller.blocks.test_qcow2_header import header

CLUSTER = 1 << 16


def make_empty(size):
    """An honest empty qcow2: header, refcount table, refcount block, L1 table."""
    content = bytearray(4 * CLUSTER)
    content[:HEADER_BYTES] = header(size=size)
    content[CLUSTER : CLUSTER + 8] = struct.pack(">Q", 2 * CLUSTER)
    content[2 * CLUSTER : 2 * CLUSTER + 8] = struct.pack(">H", 1) * 4
    return content


def upload(folder, content, image_format="qcow2", announced=None):
    with IncomingImage(folder / "ami-1", image_format, announced or len(content)) as image:
        for start in range(0, len(content), 50):
            image.write(content[start : start + 50])
        return image.finish()


def test_an_upload_is_hashed_and_put_in_place(tmp_path):
    content = bytes(make_empty(1 << 20))
    digest, size = upload(tmp_path, content)
    assert size == 1 << 20
    assert len(digest) == 64
    assert (tmp_path / "ami-1" / "image").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "image_format", "announced"),
    [
        (header(backing=9, backing_size=3), "qcow2", None),
        (b"\0" * 512, "qcow2", None),
        (b"\0" * 513, "raw", None),
        (header(), "qcow2", HEADER_BYTES + 1),
        (header(), "qcow2", HEADER_BYTES - 1),
        (header(), "vmdk", None),
        (header(), "vdi", None),
    ],
)
def test_a_refused_upload_leaves_nothing(tmp_path, content, image_format, announced):
    with pytest.raises(BadImageError):
        upload(tmp_path, content, image_format, announced)
    assert list(tmp_path.iterdir()) == []


def test_a_raw_disk_that_begins_as_another_format_is_a_mistake_or_worse(tmp_path):
    with pytest.raises(BadImageError, match="begins as qcow2"):
        upload(tmp_path, header(backing=9, backing_size=3).ljust(1024, b"\0"), "raw")
    _, size = upload(tmp_path, b"boot".ljust(1024, b"\0"), "raw")
    assert size == 1024
