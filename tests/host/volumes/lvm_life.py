"""What is true of an LVM thin pool, tried in a guest that has device-mapper; `test_lvm.py` boots it and reads the results.

Each function is one trial, in this order and over the same pool; a result is a line of JSON.
"""

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stead_agent.disks.disk_sources import BlockSource, FileSource, Layer
from stead_agent.disks.volumes.interface import VolumeError, VolumeSpec
from stead_agent.disks.volumes.local_files import LocalStore
from stead_agent.disks.volumes.lvm_thin import LvmThinPool
from stead_agent.disks.volumes.open_pools import open_pools
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes
from stead_agent.settings import PoolSetting

MIB = 1 << 20
FIRST, SECOND, THIRD = (f"vol-0123456789abcdef{number}" for number in range(3))
STORE = "i-0123456789abcdef0-store0"
BASE = "snap-0123456789abcdef0"
# An emulated guest has no processor to spare for copies of metadata in /etc/lvm, a daemon, and memory that is kept ready.
SPARING = """
backup { backup = 0 archive = 0 }
activation { monitoring = 0 reserved_memory = 0 reserved_stack = 0 }
"""
TRIALS: list[Callable[[], None]] = []


def trial(function: Callable[[], None]) -> Callable[[], None]:
    TRIALS.append(function)
    return function


def shell(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def volumes(trash_seconds: float = 3600) -> PooledVolumes:
    """A new agent's view of the same pools."""
    store = LocalStore(Path("/run/disks"))
    store.forget_removed(older_than=-1)  # one trial after the other uses the same few ids
    found = open_pools(store, (PoolSetting.parse("fast:lvm:group/thin:io1,io2"),))
    found[1] = (LvmThinPool("fast", "group", "thin", trash_seconds=trash_seconds), found[1][1])
    return PooledVolumes(store, found, lambda base_id: Layer(FileSource(store.bases / f"{base_id}.raw"), "raw"))


def device(name: str) -> str:
    source = volumes().source(name)
    assert source is not None
    assert isinstance(source.source, BlockSource)
    return str(source.source.path.resolve())


def disk_io(name: str, *commands: str) -> str:
    options = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        ["qemu-io", "-t", "none", "-f", "qcow2", *options, device(name)], check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def refusal_of(here: PooledVolumes, spec: VolumeSpec) -> str:
    """The error with which a disk is not made; pytest would take seconds to be imported here."""
    try:
        here.ensure(spec)
    except VolumeError as error:
        return f"{type(error).__name__}: {error}"
    return "it was made"


@trial
def a_disk_is_made_written_and_grown() -> None:
    here = volumes()
    made = here.ensure(VolumeSpec(FIRST, 16 * MIB, pool="fast"))
    assert (made.format, made.base) == ("qcow2", None)
    assert here.ensure(VolumeSpec(FIRST, 16 * MIB)) == made
    assert "failed" not in disk_io(FIRST, "read -P 0 0 16M", "write -P 9 1M 2M")
    assert here.ensure(VolumeSpec(FIRST, 512 * MIB)) == made
    assert (here.size(FIRST), here.present()) == (512 * MIB, {FIRST})
    assert "failed" not in disk_io(FIRST, "read -P 9 1M 2M", "read -P 0 500M 1M", "write -P 8 500M 1M")
    shell("qemu-img", "check", "-q", "-f", "qcow2", device(FIRST))
    fast = here.pools()[1]
    assert (fast.name, fast.backend, fast.volume_types, fast.is_default) == ("fast", "lvm", ("io1", "io2"), False)
    assert 0 < fast.capacity.held < 64 * MIB < fast.capacity.free < fast.capacity.total


@trial
def a_disk_has_room_made_for_a_growth_under_its_guest() -> None:
    size = int(shell("blockdev", "--getsize64", device(FIRST)))
    volumes().make_room(FIRST, 1024 * MIB)
    volumes().make_room(FIRST, 1024 * MIB)
    assert int(shell("blockdev", "--getsize64", device(FIRST))) >= size + 512 * MIB
    assert volumes().size(FIRST) == 512 * MIB


@trial
def a_disk_is_activated_after_a_boot() -> None:
    shell("lvchange", "--config", "activation{udev_sync=0 udev_rules=0}", "-an", f"group/{FIRST}")
    assert not Path(f"/dev/group/{FIRST}").exists()
    assert "failed" not in disk_io(FIRST, "read -P 9 1M 2M")


@trial
def a_disk_is_laid_over_a_base() -> None:
    bases = Path("/run/disks/bases")
    bases.mkdir(exist_ok=True)
    (bases / f"{BASE}.raw").write_bytes(b"\x07" * MIB + bytes(MIB))
    made = volumes().ensure(VolumeSpec(SECOND, 4 * MIB, base_id=BASE, pool="fast"))
    assert made.base == Layer(FileSource(bases / f"{BASE}.raw"), "raw")
    assert "failed" not in disk_io(SECOND, "read -P 7 0 1M", "read -P 0 1M 3M", "write -P 5 0 64k", "read -P 7 64k 64k")
    volumes().remove(SECOND)


@trial
def a_removed_disk_rests_in_the_trash_and_a_new_one_reads_zeroes() -> None:
    here = volumes()
    here.remove(FIRST)
    here.remove(FIRST)
    assert (here.present(), here.source(FIRST)) == (frozenset(), None)
    assert f"{FIRST}.trash." in shell("lvs", "-o", "lv_name", "group")
    volumes(trash_seconds=0).purge()
    assert "trash" not in shell("lvs", "-o", "lv_name", "group")
    here.ensure(VolumeSpec(THIRD, 4 * MIB, pool="fast"))
    assert "failed" not in disk_io(THIRD, "read -P 0 0 4M")
    # Not even beside what its format shows is anything of the former.
    found = Path(device(THIRD)).read_bytes()[4 * 65536 :]
    assert found == bytes(len(found))
    here.remove(THIRD)


@trial
def what_was_half_made_is_removed() -> None:
    config = ("--config", "activation{udev_sync=0 udev_rules=0}")
    shell("lvcreate", *config, "-qq", "-V", "64M", "--thinpool", "group/thin", "-n", f"new.{SECOND}")
    shell("lvcreate", *config, "-qq", "-V", "64M", "--thinpool", "group/thin", "-n", "somebody-elses")
    assert volumes().present() == frozenset()
    volumes().ensure(VolumeSpec(THIRD, MIB, pool="fast"))
    names = shell("lvs", "-o", "lv_name", "group")
    assert "new." not in names
    assert "somebody-elses" in names
    volumes().remove(THIRD)


@trial
def a_full_pool_says_so_and_nothing_is_lost() -> None:
    here = volumes(trash_seconds=0)
    here.ensure(VolumeSpec(FIRST, 64 * MIB, pool="fast"))
    assert "failed" not in disk_io(FIRST, "write -P 9 0 4M")
    here.ensure(VolumeSpec(SECOND, 4096 * MIB, pool="fast"))
    free = here.pools()[1].capacity.free
    assert "No space left" in disk_io(SECOND, f"write -P 6 0 {free // MIB + 8}M")
    assert not here.has_room(FIRST)
    assert refusal_of(here, VolumeSpec(THIRD, 64 * MIB, pool="fast")).startswith(f"DiskFullError: {THIRD}")
    assert here.source(THIRD) is None
    assert "failed" not in disk_io(FIRST, "read -P 9 0 4M")
    shell("qemu-img", "check", "-q", "-f", "qcow2", device(FIRST))
    here.remove(SECOND)
    assert not here.has_room(FIRST)  # but now the trash has been emptied
    assert here.has_room(FIRST)
    assert "failed" not in disk_io(FIRST, "write -P 4 32M 4M", "read -P 9 0 4M")
    here.remove(FIRST)


@trial
def a_pool_that_is_not_there_is_told_without_room() -> None:
    found = open_pools(LocalStore(Path("/run/disks")), (PoolSetting.parse("gone:lvm:nowhere/thin"),))
    here = PooledVolumes(LocalStore(Path("/run/disks")), found)
    assert here.pools()[1].capacity.total == 0
    assert here.pools()[0].capacity.total > 0
    assert refusal_of(here, VolumeSpec(THIRD, MIB, pool="gone")).startswith("VolumeError: pool gone")


@trial
def an_instance_store_is_deleted_at_once() -> None:
    found = open_pools(LocalStore(Path("/run/disks")), (PoolSetting.parse("default:lvm:group/thin"),))
    here = PooledVolumes(LocalStore(Path("/run/disks")), found)
    here.ensure_instance_store(STORE, 4 * MIB, fresh=True)
    assert "failed" not in disk_io(STORE, "write -P 9 0 1M")
    here.ensure_instance_store(STORE, 4 * MIB, fresh=True)
    assert "failed" not in disk_io(STORE, "read -P 0 0 4M")
    assert here.instance_stores() == {"i-0123456789abcdef0"}
    here.remove_instance_store("i-0123456789abcdef0")
    assert STORE not in shell("lvs", "-o", "lv_name", "group")


@trial
def an_encrypted_disk_is_made_written_and_grown() -> None:
    here, key = volumes(trash_seconds=0), bytes(range(32))
    spec = VolumeSpec(FIRST, 4 * MIB, pool="fast", encrypted=True, encryption_key=key)
    here.ensure(spec)
    assert not here.ensure(replace(spec, size=8 * MIB)).base
    options = f"driver=qcow2,file.driver=host_device,file.filename={device(FIRST)},encrypt.key-secret=key"
    command = ["qemu-io", "-t", "none", "--object", f"secret,id=key,data={key.hex()}", "--image-opts", options]
    assert "failed" not in shell(*command, "-c", "write -P 9 6M 1M", "-c", "read -P 9 6M 1M", "-c", "read -P 0 0 1M")
    assert b"\x09" * 512 not in Path(device(FIRST)).read_bytes()
    here.remove(FIRST)
    here.purge()


def main() -> None:
    config = ("--config", "activation{udev_sync=0 udev_rules=0}")
    Path("/etc/lvm/lvmlocal.conf").write_text(SPARING)
    shell("modprobe", "dm_thin_pool")
    shell("pvcreate", *config, "-qq", "/dev/vda")
    shell("vgcreate", *config, "-qq", "group", "/dev/vda")
    shell("lvcreate", *config, "-qq", "--type", "thin-pool", "-L", "96M", "-n", "thin", "group")
    for each in TRIALS:
        try:
            begun = time.monotonic()
            each()
            print(f"{each.__name__}: {time.monotonic() - begun:.1f} s")
            result = "ok"
        except Exception:  # whatever it is, it is reported, and the other trials still go on
            result = traceback.format_exc()
        print("result", json.dumps([each.__name__, result]))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
