"""Images and volumes as files: made whole or not at all, found again, and gone when removed."""

import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.disk_sources import FileSource, Layer, NbdSource
from stead_agent.settings import PoolSetting, PoolSettingError
from stead_agent.volumes.interface import (
    BaseAbsentError,
    DiskFullError,
    ImageAbsentError,
    ImageBase,
    ImageRefusedError,
    VolumeError,
    VolumeSpec,
)
from stead_agent.volumes.local_files import LocalImages, LocalStore
from stead_agent.volumes.open_pools import open_pools
from stead_agent.volumes.pooled_volumes import PooledVolumes
from stead_agent.volumes.qcow2 import render_empty

AMI = "ami-0123456789abcdef0"
VOL = "vol-0123456789abcdef0"
SNAP = "snap-0123456789abcdef0"
MIB = 1 << 20


def volumes_in(store, *bases):
    return PooledVolumes(store, open_pools(store, ()), *bases)


class Place:
    def __init__(self, root, **options):
        self.store = LocalStore(root, **options)
        self.images = LocalImages(self.store)
        self.volumes = volumes_in(self.store)


@pytest.fixture
def root():
    """Where a store can be made: not below pytest's own folder, which each new run of pytest closes for guests' users."""
    parent = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    parent.chmod(0o711)
    yield parent / "store"
    shutil.rmtree(parent)


@pytest.fixture
def place(root):
    return Place(root)


def test_a_disk_over_a_base_is_opened_as_the_base_is_now(root):
    base = root / "bases" / f"{SNAP}.raw"
    here = {}
    store = LocalStore(root)
    volumes = volumes_in(store, here.get)
    with pytest.raises(BaseAbsentError):
        volumes.ensure(VolumeSpec(VOL, 8 * MIB, base_id=SNAP))
    assert volumes.present() == frozenset()
    base.parent.mkdir()
    base.write_bytes(b"\x5a" * MIB)
    here[SNAP] = Layer(FileSource(base), "raw")
    source = volumes.ensure(VolumeSpec(VOL, 8 * MIB, base_id=SNAP))
    assert source.base == here[SNAP]
    path = source.source.path
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -P 0x5a 0 1M", "-c", "read -P 0 1M 7M", path], check=True)
    here[SNAP] = Layer(NbdSource(root / "socket"), "raw")
    assert volumes.source(VOL).base == here[SNAP]
    volumes.ensure(VolumeSpec(VOL, 16 * MIB, base_id=SNAP))
    assert volumes.size(VOL) == 16 * MIB
    here.clear()
    with pytest.raises(BaseAbsentError):
        volumes.source(VOL)


def qcow2_file(size=4 * MIB):
    disk = render_empty(size)
    content = bytearray(disk.length)
    for offset, piece in disk.pieces:
        content[offset : offset + len(piece)] = piece
    return bytes(content)


def image_of(content, **changes):
    image = ImageBase(AMI, hashlib.sha256(content).hexdigest(), len(content), 4 * MIB, "qcow2")
    return replace(image, **changes)


def feed(content, calls=None, piece=10_000, fail_at=None):
    def fetch(offset):
        if calls is not None:
            calls.append(offset)
        for at in range(offset, len(content), piece):
            if fail_at is not None and at >= fail_at:
                raise ConnectionResetError("gone")
            yield content[at : at + piece]

    return fetch


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_an_image_is_fetched_once_and_is_read_only(place):
    content, calls = qcow2_file(), []
    place.images.ensure(image_of(content), feed(content, calls))
    place.images.ensure(image_of(content), feed(content, calls))
    assert calls == [0]
    assert place.images.present() == {AMI}
    path = place.store.images / f"{AMI}.qcow2"
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_broken_fetch_goes_on_where_it_ended(place, root):
    content, calls = qcow2_file(), []
    with pytest.raises(VolumeError, match="gone"):
        place.images.ensure(image_of(content), feed(content, calls, fail_at=100_000))
    assert place.images.present() == frozenset()
    with pytest.raises(VolumeError, match="came, not"):
        place.images.ensure(image_of(content), feed(content[:150_000], calls))
    Place(root).images.ensure(image_of(content), feed(content, calls))
    assert calls == [0, 100_000, 150_000]
    assert (place.store.images / f"{AMI}.qcow2").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        (qcow2_file(), {"sha256": "00" * 32}),
        (qcow2_file(), {"virtual_size": 8 * MIB}),
        (b"\0" * 8192, {}),
        (qcow2_file()[:-1] + b"x", {"sha256": hashlib.sha256(qcow2_file()).hexdigest()}),
    ],
)
def test_what_is_not_as_said_is_refused_and_fetched_anew(place, root, content, changes):
    calls = []
    for _ in range(2):
        with pytest.raises(ImageRefusedError):
            place.images.ensure(image_of(content, **changes), feed(content, calls))
    assert calls == [0, 0]
    assert everything(root) == []


def test_more_than_was_said_is_refused(place, root):
    content = qcow2_file()
    with pytest.raises(VolumeError):
        place.images.ensure(image_of(content), feed(content + b"x"))
    assert everything(root) == []


@pytest.mark.parametrize(
    "name", ["../x", "ami-../../etc", "ami-0123456789abcdef0/x", "", "ami-0123456789abcdef0\n", "vol-0123456789abcdef0"]
)
def test_no_name_but_an_id_becomes_a_path(place, root, name):
    with pytest.raises(VolumeError, match="not an id"):
        place.images.ensure(image_of(b"", id=name), feed(b""))
    with pytest.raises(VolumeError, match="not an id"):
        place.images.remove(name)
    if name != VOL:
        for act in (
            place.volumes.remove,
            place.volumes.source,
            place.volumes.size,
            lambda id_: place.volumes.ensure(VolumeSpec(id_, MIB)),
        ):
            with pytest.raises(VolumeError, match="not an id"):
                act(name)
    assert everything(root) == []


def test_a_volume_over_an_image(place, root):
    content = qcow2_file()
    with pytest.raises(ImageAbsentError):
        place.volumes.ensure(VolumeSpec(VOL, 8 * MIB, AMI))
    assert everything(root) == []
    place.images.ensure(image_of(content), feed(content))
    with pytest.raises(VolumeError, match="less than"):
        place.volumes.ensure(VolumeSpec(VOL, 2 * MIB, AMI))
    source = place.volumes.ensure(VolumeSpec(VOL, 8 * MIB, AMI))
    assert source.base.source.path == place.store.images / f"{AMI}.qcow2"
    assert source.source.path.stat().st_mode & 0o777 == 0o600
    assert Place(root).volumes.source(VOL) == source
    assert place.volumes.present() == {VOL}
    assert place.volumes.size(VOL) == 8 * MIB
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", source.source.path], check=True)
    with pytest.raises(VolumeError, match="needed by"):
        place.images.remove(AMI)
    assert place.images.present() == {AMI}
    place.volumes.remove(VOL)
    place.images.remove(AMI)
    assert (place.images.present(), place.volumes.present()) == (frozenset(), frozenset())


def test_a_volume_keeps_its_content_and_only_grows(place):
    path = place.volumes.ensure(VolumeSpec(VOL, 4 * MIB)).source.path
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 64k", path], check=True, capture_output=True)
    place.volumes.ensure(VolumeSpec(VOL, 2 * MIB))
    assert place.volumes.size(VOL) == 4 * MIB
    os.chown(path, 0x70000001, 0)  # as after a start of its machine
    place.volumes.ensure(VolumeSpec(VOL, 4 << 40))
    assert place.volumes.size(VOL) == 4 << 40
    read = subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -P 9 0 64k", path], check=True, capture_output=True)
    assert b"failed" not in read.stdout


def test_a_forged_header_leads_nowhere(place, root, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("secret")
    path = place.volumes.ensure(VolumeSpec(VOL, 4 * MIB)).source.path
    for base, base_format in (
        (str(canary), "raw"),
        ("json:{}", "raw"),
        (f"{root}/images/../canary", "raw"),
        (f"{root}/images/{AMI}.raw", "qcow2"),
    ):
        path.write_bytes(dict(render_empty(4 * MIB, base, base_format).pieces)[0].ljust(1 << 18, b"\0"))
        with pytest.raises(VolumeError, match="none of ours"):
            place.volumes.source(VOL)
        with pytest.raises(VolumeError):
            place.volumes.ensure(VolumeSpec(VOL, 8 * MIB))


def test_removed_disks_rest_in_the_trash_for_a_while(root):
    place = Place(root, trash_seconds=3600)
    place.volumes.ensure(VolumeSpec(VOL, MIB))
    place.volumes.remove(VOL)
    place.volumes.remove(VOL)
    assert [name.startswith(f"trash/{VOL}.qcow2.") for name in everything(root)] == [True]
    place.volumes.purge()
    assert len(everything(root)) == 1
    Place(root, trash_seconds=0).volumes.purge()
    assert everything(root) == []


def test_a_new_disk_of_an_old_id_is_blank(place):
    path = place.volumes.ensure(VolumeSpec(VOL, MIB)).source.path
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 64k", path], check=True, capture_output=True)
    place.volumes.remove(VOL)
    place.volumes.ensure(VolumeSpec(VOL, MIB))
    read = subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -P 0 0 64k", path], check=True, capture_output=True)
    assert b"failed" not in read.stdout


def test_a_death_while_making_leaves_nothing_half_made(root, monkeypatch):
    class DeathError(BaseException):
        pass

    def die(*_arguments):
        raise DeathError

    for moment in ("pwrite", "ftruncate", "fsync"):
        place = Place(root)
        with monkeypatch.context() as patch:
            patch.setattr(os, moment, die)
            with pytest.raises(DeathError):
                place.volumes.ensure(VolumeSpec(VOL, MIB))
        assert place.volumes.present() == frozenset(), moment
        assert place.volumes.source(VOL) is None
        assert Place(root).volumes.ensure(VolumeSpec(VOL, MIB)).source.path.exists()
        assert everything(root) == [f"volumes/{VOL}.qcow2"]
        (root / "volumes" / f"{VOL}.qcow2").unlink()


def test_a_symbolic_link_is_not_followed(place, tmp_path):
    (tmp_path / "canary").write_bytes(qcow2_file())
    (place.store.volumes / f"{VOL}.qcow2").symlink_to(tmp_path / "canary")
    with pytest.raises(VolumeError):
        place.volumes.ensure(VolumeSpec(VOL, MIB))


def test_a_directory_guests_cannot_pass_is_refused(root):
    root.parent.chmod(0o700)
    with pytest.raises(VolumeError, match=r"chmod o\+x"):
        LocalStore(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.root
def test_a_full_disk_is_a_clean_error_and_empties_the_trash(root):
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=711", "none", root], check=True)
    try:
        place = Place(root)
        content = os.urandom(2 * MIB)
        image = image_of(content, format="raw", virtual_size=2 * MIB)
        place.images.ensure(image, feed(content))
        with pytest.raises(DiskFullError):
            place.images.ensure(replace(image, id="ami-00000000000000001"), feed(content))
        place.images.remove(AMI)
        assert place.volumes.capacity().held > 2 * MIB - 1
        other = replace(image, id="ami-00000000000000002")
        with pytest.raises(DiskFullError):
            place.images.ensure(other, feed(content))
        place.images.ensure(other, feed(content))  # the trash was emptied
        assert place.images.present() == {other.id}
    finally:
        subprocess.run(["umount", root], check=True)


def fill(path):
    """Write a file until its file system is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return
                raise


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.root
def test_no_volume_is_made_or_grown_on_a_full_disk_and_none_is_lost(root):
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=711", "none", root], check=True)
    try:
        place = Place(root)
        path = place.volumes.ensure(VolumeSpec(VOL, MIB)).source.path
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 64k", path], check=True, capture_output=True)
        fill(root / "filler")
        other = VolumeSpec("vol-0123456789abcdef1", MIB)
        with pytest.raises(DiskFullError):
            place.volumes.ensure(other)
        with pytest.raises(VolumeError):
            place.volumes.ensure(VolumeSpec(VOL, 1 << 40))
        assert (place.volumes.present(), place.volumes.size(VOL)) == ({VOL}, MIB)
        assert not place.volumes.has_room(VOL)
        (root / "filler").unlink()
        place.volumes.ensure(other)
        place.volumes.ensure(VolumeSpec(VOL, 1 << 40))
        assert place.volumes.size(VOL) == 1 << 40
        read = subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", "read -P 9 0 64k", path], check=True, capture_output=True
        )
        assert b"failed" not in read.stdout
    finally:
        subprocess.run(["umount", root], check=True)


def test_an_error_while_writing_names_the_volume(place, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(DiskFullError, match=VOL):
            place.volumes.ensure(VolumeSpec(VOL, MIB))
    assert place.volumes.ensure(VolumeSpec(VOL, MIB))


def test_an_image_removed_while_a_volume_is_laid_over_it(place, monkeypatch):
    content = qcow2_file()
    place.images.ensure(image_of(content), feed(content))
    publish = place.store.publish

    def remove_before(incoming: Path, final: Path) -> None:
        place.images.remove(AMI)
        publish(incoming, final)

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "publish", remove_before)
        with pytest.raises(ImageAbsentError):
            place.volumes.ensure(VolumeSpec(VOL, 8 * MIB, AMI))
    assert place.volumes.present() == frozenset()
    place.images.ensure(image_of(content), feed(content))
    discard = place.store.discard

    def lay_before(path: Path):
        if path.name.endswith(".qcow2"):
            place.volumes.ensure(VolumeSpec(VOL, 8 * MIB, AMI))
        return discard(path)

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "discard", lay_before)
        with pytest.raises(VolumeError, match="needed by"):
            place.images.remove(AMI)
    assert place.images.present() == {AMI}
    assert place.volumes.source(VOL).base.source.path.exists()


def test_many_at_once(place):
    ids = [f"vol-0{number:016x}" for number in range(16)]
    threads = [threading.Thread(target=place.volumes.ensure, args=(VolumeSpec(id_, MIB),)) for id_ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.volumes.present() == set(ids)
    capacity = place.volumes.capacity()
    assert 0 < capacity.held < capacity.total
    assert 0 < capacity.free <= capacity.total


def test_only_ids_become_names_of_files(place):
    for name in (f"{VOL}\n", "../vol-0123456789abcdef0", "vol-", "i-0123456789abcdef0", ""):
        with pytest.raises(VolumeError, match="not an id"):
            place.volumes.ensure(VolumeSpec(name, MIB))
        with pytest.raises(VolumeError, match="not an id"):
            place.volumes.source(name)


STORE = "i-0123456789abcdef0-store0"


def test_an_instance_store_begins_with_zeroes_and_ends_with_its_machine(place, root):
    def io(command):
        path = place.volumes.source(STORE).source.path
        done = subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, path], check=True, capture_output=True)
        return b"failed" not in done.stdout

    place.volumes.ensure_instance_store(STORE, 4 * MIB, fresh=True)
    assert io("write -P 9 0 4M")
    place.volumes.ensure_instance_store(STORE, 4 * MIB, fresh=False)  # its host went down under it
    assert io("read -P 9 0 4M")
    place.volumes.ensure_instance_store(STORE, 4 * MIB, fresh=True)
    assert io("read -P 0 0 4M")
    assert place.volumes.present() == frozenset()
    assert place.volumes.instance_stores() == {"i-0123456789abcdef0"}
    place.volumes.remove_instance_store("i-0123456789abcdef")
    assert place.volumes.source(STORE) is not None
    place.volumes.remove_instance_store("i-0123456789abcdef0")
    place.volumes.remove_instance_store("i-0123456789abcdef0")
    assert everything(root) == []


def test_volumes_are_made_in_their_pool_and_found_wherever_they_are(root):
    bulk = root.parent / "bulk"
    bulk.mkdir()
    store = LocalStore(root)
    settings = (PoolSetting.parse(f"bulk:directory:{bulk}:st1,sc1"),)
    volumes = PooledVolumes(store, open_pools(store, settings))
    path = volumes.ensure(VolumeSpec(VOL, MIB, pool="bulk")).source.path
    assert path.is_relative_to(bulk)
    assert volumes.ensure(VolumeSpec(VOL, 2 * MIB)).source.path == path
    assert (volumes.size(VOL), volumes.present()) == (2 * MIB, {VOL})
    with pytest.raises(VolumeError, match="no pool 'fast'"):
        volumes.ensure(VolumeSpec("vol-0123456789abcdef1", MIB, pool="fast"))
    default, other = volumes.pools()
    assert (default.name, default.is_default, default.volume_types) == ("default", True, ())
    assert (other.name, other.is_default, other.volume_types) == ("bulk", False, ("st1", "sc1"))
    volumes.remove(VOL)
    assert volumes.present() == frozenset()
    shutil.rmtree(bulk)
    with pytest.raises(VolumeError, match="there is no directory"):
        open_pools(store, settings)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x:directory:relative",
        "x:lvm:group",
        "x:lvm:a/b/c",
        "x:rbd:pool",
        "X:directory:/a",
        "x:directory:/a:",
        "a b:directory:/a",
    ],
)
def test_what_describes_no_pool_is_refused(text):
    with pytest.raises(PoolSettingError):
        PoolSetting.parse(text)
