"""Forged image files are refused before any tool sees them; and where the checks let one pass, nothing else is read."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from stead_controller.blocks import confinement, image_export, served_disk
from stead_controller.blocks.bad_image import BadImageError
from stead_controller.blocks.image_blocks import ImageBlocks
from stead_proto.blocks import BLOCK_BYTES
from stead_proto.nbd.wire import NbdError
from tests.support import crafted_images
from tests.support.crafted_images import MIB

CORPUS = {crafted.name: crafted for crafted in crafted_images.corpus()}
SECRET = b"the host's secret" * 65536  # more than the honest files have at their start
PROC = Path("/proc")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="needs qemu-utils")


@pytest.fixture
def canary():
    """A file that nobody may read; everybody can, so that only not opening it keeps it."""
    folder = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    path = folder / "canary"
    path.write_bytes(SECRET)
    path.chmod(0o644)
    yield path
    shutil.rmtree(folder)


@pytest.fixture
def place(tmp_path):
    """Where an image file lies alone."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder / "image"


@needs_qemu
@pytest.mark.parametrize("name", sorted(CORPUS))
def test_forged_files_are_refused_unseen(name, canary, place, monkeypatch):
    crafted = CORPUS[name]
    crafted.make(place, canary)
    monkeypatch.setattr(confinement, "serve", _never)
    before = _cpu_seconds()
    with pytest.raises(BadImageError, match=crafted.refusal):
        ImageBlocks(place, crafted.image_format)
    assert _cpu_seconds() - before < 2


@needs_qemu
@pytest.mark.parametrize("name", sorted(name for name, crafted in CORPUS.items() if crafted.image_format == "qcow2"))
def test_without_the_checks_the_confined_reader_still_reads_nothing_else(name, canary, place):
    crafted = CORPUS[name]
    crafted.make(place, canary)
    size = place.stat().st_size
    seen = b""
    try:
        with (
            confinement.serve(place, "qcow2", 2) as reader,
            served_disk.connect(reader.socket_path, 10, reader.is_alive) as disk,
        ):
            seen = b"".join(content for _, content in served_disk.read(disk, [(0, min(disk.size, len(SECRET)))]))
    except (BadImageError, NbdError):
        pass  # most of these files QEMU refuses by itself
    assert b"the host's secret" not in seen
    assert place.stat().st_size == size
    assert {path.name for path in place.parent.iterdir()} <= {"image", "socket"}


@needs_qemu
@pytest.mark.parametrize(
    ("image_format", "subformat"),
    [
        ("qcow2", ""),
        ("vmdk", "monolithicSparse"),
        ("vmdk", "streamOptimized"),
        ("vhd", "dynamic"),
        ("vhd", "fixed"),
        ("vhdx", "dynamic"),
        ("vhdx", "fixed"),
        ("raw", ""),
    ],
)
def test_honest_files_become_their_blocks(image_format, subformat, place):
    content = b"".join(hashlib.sha256(bytes([number])).digest() * 4096 for number in range(20))
    crafted_images.honest(place, image_format, 8 * MIB + 512 * 3, subformat, content)
    image = ImageBlocks(place, image_format)
    try:
        disk = bytearray(image.size)
        indexes = []
        for block in image.blocks():
            indexes.append(block.index)
            disk[block.index * BLOCK_BYTES : (block.index + 1) * BLOCK_BYTES] = block.content
    finally:
        image.close()
    assert bytes(disk[: len(content)]) == content
    assert not any(disk[len(content) : image.size])
    assert indexes == list(range(-(-len(content) // BLOCK_BYTES)))
    assert image.size == 8 * MIB + 512 * 3


@needs_qemu
def test_data_on_both_sides_of_a_gibibyte_are_read(place):
    """Where data are is asked of a gibibyte at a time, and not while blocks are awaited."""
    written = {0: 7, 1022 * MIB: 8, 1024 * MIB: 9, 2100 * MIB: 10}
    commands = [word for at, byte in written.items() for word in ("-c", f"write -P {byte} {at} 2M")]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", place, "3G"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, place], check=True, stdout=subprocess.DEVNULL)
    image = ImageBlocks(place, "qcow2")
    try:
        found = {block.index * BLOCK_BYTES: set(block.content) for block in image.blocks()}
    finally:
        image.close()
    assert found == {at + offset: {byte} for at, byte in written.items() for offset in range(0, 2 * MIB, BLOCK_BYTES)}
    assert list(found) == sorted(found)


@needs_qemu
def test_the_reader_has_no_privileges_network_or_files(place):
    crafted_images.honest(place, "qcow2")
    with confinement.serve(place, "qcow2", 5) as reader:
        pid = reader.process_id
        status = dict(line.split(":\t", 1) for line in _proc(pid, "status").splitlines())
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0
        assert _proc(pid, "net/route").splitlines()[1:] == []
        assert (PROC / str(pid) / "ns/net").readlink() != (PROC / "self/ns/net").readlink()
        if os.geteuid() == 0:
            assert int(status["Uid"].split()[0]) >= 2_000_000_000
            assert status["Groups"].strip() == status["Gid"].split()[0] or not status["Groups"].strip()
        limits = _proc(pid, "limits")
        assert "Max file size             0" in limits
        assert "Max cpu time              5" in limits
        assert "Max address space         1073741824" in limits
        assert "Max stack size            4194304" in limits
        assert "Max core file size        0" in limits
    assert not (PROC / str(pid)).exists()


@needs_qemu
def test_the_reader_has_room_for_all_threads_that_qemu_may_start(place):
    crafted_images.honest(place, "vmdk", subformat="monolithicSparse")
    with confinement.serve(place, "vmdk", 5) as reader:
        words = _proc(reader.process_id, "environ").split("\0")
        arenas = int(dict(word.split("=", 1) for word in words if word).get("MALLOC_ARENA_MAX", 8 * os.cpu_count()))
        rows = _proc(reader.process_id, "limits").splitlines()
        stack, room = (int(row.split()[3]) for row in rows if row.startswith(("Max stack", "Max address")))
        used = int(_proc(reader.process_id, "status").partition("VmSize:")[2].split()[0]) << 10
    assert used + 64 * (stack + (256 << 10)) + 64 * MIB * arenas < room  # 256 KiB of each request's data


@needs_qemu
@pytest.mark.parametrize("image_format", ["qcow2", "vmdk", "vhd"])
def test_a_header_that_a_guest_wrote_into_its_disk_is_content_when_it_is_exported(image_format, canary, tmp_path):
    """A guest owns the first bytes of its disk, which must never decide what else is read."""
    disk = tmp_path / "export" / "disk"
    disk.parent.mkdir()
    CORPUS["raw-qcow2-header"].make(disk, canary)
    content = disk.read_bytes()
    assert content.startswith(b"QFI\xfb")
    assert str(canary).encode() in content
    made = image_export.convert(disk, image_format)
    assert SECRET[:512] not in made.read_bytes()
    image = ImageBlocks(made, image_format)
    try:
        assert b"".join(block.content for block in image.blocks())[: len(content)].rstrip(b"\0") == content.rstrip(
            b"\0"
        )
    finally:
        image.close()


@needs_qemu
def test_an_export_cannot_write_without_end(tmp_path, monkeypatch):
    disk = tmp_path / "export" / "disk"
    disk.parent.mkdir()
    disk.write_bytes(os.urandom(4 * MIB))
    monkeypatch.setattr(confinement, "_FILE_MARGIN", -3 * MIB)  # less than its content takes
    with pytest.raises(confinement.ConversionError):
        image_export.convert(disk, "qcow2")
    assert disk.with_name("image").stat().st_size <= 4 * MIB + 4 * MIB // 8 - 3 * MIB


@needs_qemu
def test_a_disk_of_holes_takes_no_time(place):
    """4 TiB of nothing are 4 TiB that nobody reads."""
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", place, "4T"], check=True, timeout=30
    )
    image = ImageBlocks(place, "qcow2")
    before = _cpu_seconds()
    assert list(image.blocks()) == []
    image.close()
    assert _cpu_seconds() - before < 10


def _cpu_seconds():
    """Processor time of this process and of the readers that have ended: the wall's says how busy the machine is."""
    return sum(os.times()[:4])


def _never(*_args, **_kwargs):
    raise AssertionError("a tool was to see the file")


def _proc(pid, name):
    return (PROC / str(pid) / name).read_text()
