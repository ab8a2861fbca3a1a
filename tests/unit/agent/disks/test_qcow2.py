"""Empty qcow2 disks as QEMU's own tools see them, and headers of all kinds."""

import json
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.qcow2 import CLUSTER, MAX_SIZE, Header, Qcow2Error, parse_header, render_empty

SIZES = st.integers(1, MAX_SIZE // 512).map(lambda sectors: 512 * sectors)


def write(path, disk):
    with path.open("wb") as file:
        for offset, piece in disk.pieces:
            file.seek(offset)
            file.write(piece)
        file.truncate(disk.length)


@pytest.mark.parametrize("size", [512, 8 << 30, (8 << 30) + 512, 512 << 20, 64 << 40], ids=str)
def test_qemu_img_finds_no_fault(tmp_path, size):
    path = tmp_path / "disk.qcow2"
    write(path, render_empty(size))
    checked = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], capture_output=True, check=False)
    assert checked.returncode == 0, checked
    info = json.loads(subprocess.check_output(["qemu-img", "info", "-f", "qcow2", "--output=json", path]))
    assert info["virtual-size"] == size
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert path.stat().st_blocks * 512 < 1 << 20


def test_an_overlay_reads_as_its_base_and_is_written_beside_it(tmp_path):
    base, path, out = tmp_path / "base.raw", tmp_path / "disk.qcow2", tmp_path / "out.raw"
    content = bytes(range(256)) * 4096
    base.write_bytes(content)
    write(path, render_empty(4 << 20, str(base), "raw"))
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 64k 64k", path], check=True, capture_output=True)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, out], check=True)
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=True)
    expected = bytearray(content.ljust(4 << 20, b"\0"))
    expected[64 << 10 : 128 << 10] = b"\7" * (64 << 10)
    assert out.read_bytes() == expected
    assert base.read_bytes() == content


@given(SIZES, st.from_regex(r"(/[a-z0-9.-]{1,40}){0,8}", fullmatch=True), st.sampled_from(["", "raw", "qcow2"]))
def test_what_was_rendered_is_read_back(size, base, base_format):
    disk = render_empty(size, base, base_format)
    start = dict(disk.pieces)[0]
    assert parse_header(start.ljust(CLUSTER, b"\0")) == Header(3, size, base, base_format, False, False, False, 0)
    assert disk.length % CLUSTER == 0
    assert all(offset + len(piece) <= disk.length for offset, piece in disk.pieces)


@pytest.mark.parametrize("size", [0, -512, 513, MAX_SIZE + 512])
def test_sizes_that_cannot_be(size):
    with pytest.raises(Qcow2Error):
        render_empty(size)


def test_a_name_too_long():
    with pytest.raises(Qcow2Error):
        render_empty(512, "/" + "a" * 1023)


@given(st.binary(max_size=400), st.booleans())
def test_hostile_bytes_raise_nothing_else(content, with_magic):
    start = b"QFI\xfb" + struct.pack(">I", 3) + content if with_magic else content
    try:
        header = parse_header(start)
    except Qcow2Error:
        return
    assert isinstance(header.backing_file, str)


def test_a_foreign_header_is_read(tmp_path):
    path, base = tmp_path / "disk.qcow2", tmp_path / "base"
    base.write_bytes(bytes(1 << 20))
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", "-o", f"data_file={tmp_path}/data", path],
        check=True,
    )
    header = parse_header(path.read_bytes()[:CLUSTER])
    assert (header.size, header.backing_file, header.backing_format) == (1 << 20, str(base), "raw")
    assert header.external_data
