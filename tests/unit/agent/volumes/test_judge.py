"""Images that would hurt the host are refused by what their first bytes say."""

import struct
import subprocess

import pytest

from stead_agent.volumes.interface import ImageBase
from stead_agent.volumes.judge import why_refused
from stead_agent.volumes.qcow2 import CLUSTER, render_empty

SIZE = 1 << 20


def image(**changes):
    return ImageBase(
        **{"id": "ami-0123456789abcdef0", "sha256": "", "file_size": SIZE, "virtual_size": SIZE, "format": "qcow2"}
        | changes
    )


def start(*arguments, **patches):
    content = bytearray(dict(render_empty(SIZE, *arguments).pieces)[0].ljust(CLUSTER, b"\0"))
    for offset, value in patches.values():
        content[offset : offset + len(value)] = value
    return bytes(content)


def features(bits):
    return {"features": (72, struct.pack(">Q", bits))}


def test_a_plain_image_is_fine():
    assert why_refused(image(), start()) is None
    assert why_refused(image(), start(**features(1 << 3 | 1 << 4))) is None


@pytest.mark.parametrize("base", ["/etc/shadow", "json:{}", "nbd://host/x", "../x", "relative"])
def test_nothing_may_be_below_it(base):
    assert "below" in why_refused(image(), start(base, "raw"))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (start(**features(1 << 2)), "another file"),
        (start(**features(1 << 1)), "damaged"),
        (start(**features(1 << 5)), "unknown"),
        (start(**features(1 << 63)), "unknown"),
        (start(crypt=(32, struct.pack(">I", 2))), "encrypted"),
        (start(size=(24, struct.pack(">Q", 1 << 50))), "holds"),
        (start(version=(4, struct.pack(">I", 4))), "not a qcow2"),
        (b"# Disk DescriptorFile\nversion=1\n", "not a qcow2"),
        (b"", "not a qcow2"),
    ],
)
def test_what_else_is_refused(content, word):
    assert word in why_refused(image(), content)


def test_what_a_raw_image_holds_is_not_looked_at():
    assert why_refused(image(format="raw"), start("/etc/shadow", "raw")) is None
    assert why_refused(image(format="raw", file_size=SIZE - 511), b"") is None
    assert why_refused(image(format="raw", file_size=SIZE + 1), b"") is not None


def test_what_qemu_img_itself_makes(tmp_path):
    path = tmp_path / "disk.qcow2"
    for options, fine in (
        ("compat=0.10", True),
        ("extended_l2=on", True),
        (f"data_file={tmp_path}/d", False),
        ("compression_type=zstd", True),
    ):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, str(SIZE)], check=True)
        assert (why_refused(image(), path.read_bytes()[:CLUSTER]) is None) is fine, options
