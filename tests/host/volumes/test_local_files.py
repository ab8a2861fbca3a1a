"""Volumes as files: made whole or not at all, found again, and gone when removed."""

import errno
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from stead_agent.disks.disk_sources import FileSource, Layer, NbdSource
from stead_agent.disks.qcow2 import render_empty
from stead_agent.disks.volumes import grow_disk
from stead_agent.disks.volumes.interface import BaseAbsentError, DiskFullError, DiskLostError, VolumeError, VolumeSpec
from stead_agent.disks.volumes.local_files import LocalStore, Noted
from stead_agent.disks.volumes.open_pools import open_pools
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes
from stead_agent.programs.run import Identity, Limits, run
from stead_agent.settings import PoolSetting, PoolSettingError

VOL = "vol-0123456789abcdef0"
SNAP = "snap-0123456789abcdef0"
MIB = 1 << 20


def volumes_in(store, *bases):
    return PooledVolumes(store, open_pools(store, ()), *bases)


class Place:
    def __init__(self, root, **options):
        self.store = LocalStore(root, **options)
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


def test_a_header_that_a_guest_wrote_into_its_disk_leads_nowhere_from_its_snapshot(root, tmp_path):
    """What a guest wrote is the base of the next volume: a raw disk, whatever its first bytes say."""
    canary = tmp_path / "canary"
    canary.write_bytes(b"\xca" * MIB)
    base = root / "bases" / f"{SNAP}.raw"
    volumes = volumes_in(LocalStore(root), {SNAP: Layer(FileSource(base), "raw")}.get)
    base.parent.mkdir()
    written = dict(render_empty(MIB, str(canary), "raw").pieces)[0].ljust(MIB, b"\0")
    base.write_bytes(written)
    assert written.startswith(b"QFI\xfb")
    assert str(canary).encode() in written
    source = volumes.ensure(VolumeSpec(VOL, MIB, base_id=SNAP))
    # QEMU opens all of the chain as the disk's own header says; libvirt and the daemons are passed each layer's format.
    out = tmp_path / "out"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", source.source.path, out], check=True)
    assert out.read_bytes() == written
    assert source.base.format == "raw"


@pytest.mark.parametrize("act", ["make", "remove"])
def test_a_reported_disk_survives_a_power_cut(root, monkeypatch, act):
    """The file is synced before it gets its name, and the folder after that."""
    place = Place(root)
    if act == "remove":
        place.volumes.ensure(VolumeSpec(VOL, MIB))
    calls = []
    fsync, rename = os.fsync, Path.rename

    def syncing(handle):
        calls.append(("sync", Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def renaming(path, target):
        calls.append(("rename", Path(target)))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "rename", renaming)
    if act == "make":
        place.volumes.ensure(VolumeSpec(VOL, MIB))
        incoming, final = place.store.incoming / f"{VOL}.qcow2", place.store.volumes / f"{VOL}.qcow2"
        assert list(dict.fromkeys(calls)) == [("sync", incoming), ("rename", final), ("sync", final.parent)]
    else:
        place.volumes.remove(VOL)
        assert [what for what, _ in calls] == ["rename", "sync"]
        assert calls[-1] == ("sync", place.store.volumes)


def qcow2_file(size=4 * MIB):
    disk = render_empty(size)
    content = bytearray(disk.length)
    for offset, piece in disk.pieces:
        content[offset : offset + len(piece)] = piece
    return bytes(content)


def everything(root):
    """List the files, but for the notes of which disks were made."""
    paths = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    return sorted(str(path) for path in paths if path.parts[0] != "made")


@pytest.mark.parametrize(
    "name", ["../x", "vol-../../etc", "vol-0123456789abcdef0/x", "", "vol-0123456789abcdef0\n", "ami-0123456789abcdef0"]
)
def test_no_name_but_an_id_becomes_a_path(place, root, name):
    for act in (
        place.volumes.remove,
        place.volumes.source,
        place.volumes.size,
        lambda id_: place.volumes.ensure(VolumeSpec(id_, MIB)),
        lambda id_: place.volumes.ensure(VolumeSpec(VOL, MIB, base_id=id_ or "/")),
    ):
        with pytest.raises(VolumeError, match="not an id"):
            act(name)
    assert everything(root) == []


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


def test_the_tool_that_reads_a_disks_tables_has_limits_and_the_rights_of_its_owner(place, monkeypatch):
    """A guest that broke out can have forged them; what the limits do is tested where `run` is."""
    path = place.volumes.ensure(VolumeSpec(VOL, MIB)).source.path
    os.chown(path, 0x70000001, 0)
    calls = []

    def running(command, **options):
        calls.append((list(command[:2]), options["limits"], options["identity"]))
        return run(command, **options)

    monkeypatch.setattr(grow_disk, "run", running)
    place.volumes.ensure(VolumeSpec(VOL, 4 * MIB))
    owner = Identity(0x70000001, 0x70000001)
    assert calls == [(["qemu-img", "resize"], Limits(cpu_seconds=30, address_space=1 << 30), owner)]
    assert place.volumes.size(VOL) == 4 * MIB


def test_a_forged_header_leads_nowhere(place, root, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("secret")
    path = place.volumes.ensure(VolumeSpec(VOL, 4 * MIB)).source.path
    for base, base_format in (
        (str(canary), "raw"),
        ("json:{}", "raw"),
        (f"{root}/bases/../canary", "raw"),
        (f"{root}/volumes/{SNAP}.raw", "raw"),
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


def test_a_new_disk_has_nothing_of_one_that_was_removed(root):
    place, other = Place(root, trash_seconds=0), VOL[:-1] + "1"
    path = place.volumes.ensure(VolumeSpec(VOL, MIB)).source.path
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 64k", path], check=True, capture_output=True)
    place.volumes.remove(VOL)
    place.volumes.purge()
    path = place.volumes.ensure(VolumeSpec(other, MIB)).source.path
    read = subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -P 0 0 64k", path], check=True, capture_output=True)
    assert b"failed" not in read.stdout


def test_a_disk_that_was_removed_is_not_made_anew(root):
    """Ids do not come again: who asks for it has an older database, by which a guest would get a blank disk."""
    place = Place(root, trash_seconds=0)
    place.volumes.ensure(VolumeSpec(VOL, MIB))
    place.volumes.remove(VOL)
    place.volumes.remove("vol-0123456789abcdef7")  # that was never here, so nothing is remembered
    for volumes in (place.volumes, Place(root).volumes):
        with pytest.raises(DiskLostError, match="was removed here"):
            volumes.ensure(VolumeSpec(VOL, MIB))
    assert place.volumes.present() == frozenset()
    assert [path.name for path in place.store.made.iterdir()] == [VOL]
    place.store.forget_removed(older_than=3600)
    assert place.store.noted(VOL) == Noted(removed=True)
    place.store.forget_removed(older_than=-1)
    assert place.store.noted(VOL) is None
    stored = place.volumes.ensure(VolumeSpec(VOL, MIB))
    place.store.forget_removed(older_than=-1)
    assert place.store.noted(VOL) == Noted()  # of what is here nothing is forgotten
    assert stored.source.path.exists()


def write(place, pattern):
    path = place.volumes.source(VOL).source.path
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} 0 64k", path], check=True, capture_output=True)


def has(place, pattern):
    path = place.volumes.source(VOL).source.path
    read = ["qemu-io", "-f", "qcow2", "-c", f"read -P {pattern} 0 64k", path]
    return b"failed" not in subprocess.run(read, check=True, capture_output=True).stdout


def test_a_volume_that_moved_away_and_back_has_a_new_disk(root):
    """Whether its old one was removed, has vanished, or is still here; the latest one stays, whoever asks."""
    for homes, leave in ((2, remove), (4, None), (6, unlink)):
        place = Place(root)
        place.volumes.ensure(VolumeSpec(VOL, MIB, home_count=homes - 2))
        write(place, 9)
        if leave is not None:
            leave(place)
        place.volumes.ensure(VolumeSpec(VOL, MIB, home_count=homes))
        assert has(place, 0)
        write(place, 7)
        for again in (Place(root), Place(root)):
            again.volumes.ensure(VolumeSpec(VOL, MIB, home_count=homes))
            assert has(again, 7)
        again.store.forget_removed(older_than=-1)
        assert again.store.noted(VOL) == Noted(homes)


def remove(place):
    place.volumes.remove(VOL)


def unlink(place):
    place.volumes.source(VOL).source.path.unlink()


def test_what_moved_away_is_not_made_anew_for_who_does_not_know_that(root):
    place = Place(root, trash_seconds=0)
    place.volumes.ensure(VolumeSpec(VOL, MIB, home_count=3))
    for each in (2, 3):
        place.volumes.ensure(VolumeSpec(VOL, MIB, home_count=each))
    place.volumes.remove(VOL)
    for each in (2, 3):
        with pytest.raises(VolumeError, match="was removed here"):
            place.volumes.ensure(VolumeSpec(VOL, MIB, home_count=each))
    assert place.store.noted(VOL) == Noted(3, removed=True)


def test_a_new_disk_of_a_death_before_it_is_noted_is_made_again(root, monkeypatch):
    """Nobody has used it yet; a disk of which that is not known could be of an earlier time."""
    place = Place(root)
    with monkeypatch.context() as patch:
        patch.setattr(place.store, "note_made", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.volumes.ensure(VolumeSpec(VOL, MIB, home_count=1))
    assert place.volumes.present() == {VOL}
    again = Place(root)
    again.volumes.ensure(VolumeSpec(VOL, MIB, home_count=1))
    assert again.store.noted(VOL) == Noted(1)


def test_a_disk_that_has_vanished_is_not_made_anew(root):
    """A guest would take the blank one for its own; what was made by an earlier release is known once it is seen."""
    made = Place(root).volumes.ensure(VolumeSpec(VOL, MIB))
    (root / "made" / VOL).unlink()
    Place(root).volumes.ensure(VolumeSpec(VOL, MIB))
    aside = root / "aside"
    made.source.path.rename(aside)
    again = Place(root).volumes
    with pytest.raises(VolumeError, match="its disk was here"):
        again.ensure(VolumeSpec(VOL, MIB))
    assert again.present() == frozenset()
    aside.rename(made.source.path)  # the pool is mounted again
    assert again.ensure(VolumeSpec(VOL, MIB)) == made
    made.source.path.unlink()
    again.remove(VOL)
    with pytest.raises(VolumeError, match="was removed here"):
        again.ensure(VolumeSpec(VOL, MIB))


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
        for name in (f"made/{VOL}", f"volumes/{VOL}.qcow2"):
            (root / name).unlink()


def test_a_symbolic_link_is_not_followed(place, tmp_path):
    (tmp_path / "canary").write_bytes(qcow2_file())
    (place.store.volumes / f"{VOL}.qcow2").symlink_to(tmp_path / "canary")
    with pytest.raises(VolumeError):
        place.volumes.ensure(VolumeSpec(VOL, MIB))


def test_a_directory_guests_cannot_pass_is_refused(root):
    root.parent.chmod(0o700)
    with pytest.raises(VolumeError, match=r"chmod o\+x"):
        LocalStore(root)


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


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.root
@pytest.mark.parametrize("who", ["a guest that waits for room", "a new volume"])
def test_a_full_disk_empties_the_trash(root, who):
    """What was deleted within the hour is no reason for a guest to stand still, or for a volume not to be made."""
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=711", "none", root], check=True)
    try:
        place = Place(root, trash_seconds=3600)
        path = place.volumes.ensure(VolumeSpec(VOL, 32 * MIB)).source.path
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 30M", path], check=True, capture_output=True)
        place.volumes.remove(VOL)
        waiting, new = (VolumeSpec(f"vol-0123456789abcdef{digit}", MIB) for digit in "12")
        place.volumes.ensure(waiting)
        fill(root / "filler")
        if who == "a new volume":
            with pytest.raises(DiskFullError):
                place.volumes.ensure(new)
        else:
            assert not place.volumes.has_room(waiting.id)
        assert [name for name in everything(root) if name.startswith("trash/")] == []
        assert place.volumes.has_room(waiting.id)
        place.volumes.ensure(new)
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

    empty = place.volumes.capacity().held
    place.volumes.ensure_instance_store(STORE, 4 * MIB, fresh=True)
    assert io("write -P 9 0 4M")
    assert place.volumes.capacity().held >= empty + 4 * MIB, "it takes room of the pool"
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
    assert place.volumes.capacity().held == empty, "and gives it back at once"


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
        "x:rbd:",
        "x:rbd:a/b",
        "x:rbd:.mgr",
        "x:rbd:pool@relative.conf",
        "x:rbd:pool@",
        "x:ceph:pool",
        "X:directory:/a",
        "x:directory:/a:",
        "a b:directory:/a",
    ],
)
def test_what_describes_no_pool_is_refused(text):
    with pytest.raises(PoolSettingError):
        PoolSetting.parse(text)
