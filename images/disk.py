"""A tar of a root file system becomes a qcow2 that boots by UEFI, and by BIOS: MBR, GRUB, ext4; no loop mounts or root.

Layout: sector 0 GRUB's boot.img with the partition table, sectors 1.. GRUB's core image (both as built, no patching:
boot.img looks for the core image at sector 1), the EFI system partition from 1 MiB, the ext4 partition from 8 MiB to
the end, so that it can grow. The latter is the first in the table: guests know it as such. Where machines have no BIOS,
GRUB's two images are left out.
"""

import os
import struct
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from images import efi
from images.efi import Loaders
from images.packages import ImageBuildError, run

SECTOR = 512
EFI_START = 2048  # sectors, 1 MiB
PARTITION_START = EFI_START + efi.SECTORS  # of the root file system; sectors
LARGEST_BLOCKS = 2**32 * SECTOR // 4096  # an MBR partition ends at 2 TiB
GRUB_FOLDER = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "linux16")

TOOLS = {
    **efi.TOOLS,
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "grub-mkimage": "grub-common",
    str(GRUB_FOLDER / "boot.img"): "grub-pc-bin",
    "/usr/lib/x86_64-linux-gnu/libarchive.so.13": "libarchive13t64",  # mke2fs loads it to read a tar
}


@dataclass(frozen=True)
class DiskPlan:
    """What a disk is to be: all that decides its bytes beside the tar."""

    size_mib: int
    label: str
    identity: uuid.UUID
    """File system uuid and directory hash seed; its first four bytes are the MBR's disk signature."""
    time: int
    """Seconds since 1970 for every time stamp."""
    bytes_per_inode: int
    journal_mib: int
    kernel: str
    """Path of the kernel in the file system."""
    initrd: str
    command_line: str


def build_disk(tar: Path, plan: DiskPlan, loaders: Loaders, output: Path) -> None:
    """Write ``output`` (qcow2, replaced at once when complete) from a tar of the root file system."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        raw = Path(scratch) / "disk.raw"
        make_file_system(tar, plan, raw)
        has_bios = loaders.architecture.has_bios
        boot_code = (GRUB_FOLDER / "boot.img").read_bytes() if has_bios else bytes(SECTOR)
        core = make_grub_core(plan, Path(scratch)) if has_bios else b""
        serial = plan.identity.hex[:8]
        system_partition = efi.make_partition(loaders, efi_config(plan), plan.time, serial, Path(scratch))
        with raw.open("r+b") as disk:
            disk.write(master_boot_record(boot_code, plan))
            disk.write(core)
            disk.seek(EFI_START * SECTOR)
            disk.write(system_partition)
        made = Path(scratch) / "disk.qcow2"
        convert = ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"]
        run([*convert, str(raw), str(made)])
        made.replace(output)


def make_file_system(tar: Path, plan: DiskPlan, raw: Path) -> None:
    """Make the sparse file ``raw`` of the plan's size with the ext4 partition's contents in their place.

    resize_inode, with room for the largest MBR partition, lets it grow while mounted. The journal keeps a
    crash-consistent snapshot mountable.
    """
    partition_sectors = plan.size_mib * 2048 - PARTITION_START
    extended = (
        f"offset={PARTITION_START * SECTOR}", f"hash_seed={plan.identity}", f"resize={LARGEST_BLOCKS}",
        "root_owner=0:0", "nodiscard",
    )  # fmt: skip
    with raw.open("wb") as disk:
        disk.truncate(plan.size_mib << 20)
    run(
        [
            "mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tar), "-b", "4096", "-i", str(plan.bytes_per_inode),
            "-J", f"size={plan.journal_mib}", "-m", "1", "-L", plan.label, "-U", str(plan.identity),
            "-O", "^metadata_csum,^orphan_file,^64bit,resize_inode",
            "-E", ",".join(extended),
            str(raw), f"{partition_sectors // 2}k",
        ],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(plan.time), "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def make_grub_core(plan: DiskPlan, scratch: Path) -> bytes:
    """Build GRUB's core image, which loads the plan's kernel at once; raise if it does not fit before the partition.

    ``linux16`` rather than ``linux``: the latter moves the kernel byte by byte, seconds under emulation. The kernel is
    read from the disk that the BIOS booted.
    """
    config = scratch / "grub.cfg"
    config.write_text(
        f"linux16 {plan.kernel} {plan.command_line}\n"
        f"initrd16 {plan.initrd}\n"
        "boot\n"
    )  # fmt: skip
    core = scratch / "core.img"
    run(
        [
            "grub-mkimage", "-O", "i386-pc", "-d", str(GRUB_FOLDER), "-p", "(,msdos1)/boot/grub",
            "-c", str(config), "-o", str(core), *GRUB_MODULES,
        ]
    )  # fmt: skip
    data = core.read_bytes()
    if len(data) > (EFI_START - 1) * SECTOR:
        raise ImageBuildError(f"GRUB's core image has {len(data)} bytes and does not fit before the partition")
    return data


def efi_config(plan: DiskPlan) -> str:
    """Render the configuration of GRUB for UEFI: find the root file system by its uuid, load the kernel at once."""
    return (
        f"search --no-floppy --fs-uuid --set=root {plan.identity}\n"
        f"linux {plan.kernel} {plan.command_line}\n"
        f"initrd {plan.initrd}\n"
        "boot\n"
    )


def master_boot_record(boot_code: bytes, plan: DiskPlan) -> bytes:
    """Return sector 0: boot code, disk signature, an active Linux partition to the disk's end, and the EFI system's."""
    cylinders = b"\xfe\xff\xff"  # addresses by cylinder, head and sector: not used
    sectors = plan.size_mib * 2048 - PARTITION_START
    root = struct.pack("<B3sB3sII", 0x80, cylinders, 0x83, cylinders, PARTITION_START, sectors)
    system = struct.pack("<B3sB3sII", 0, cylinders, 0xEF, cylinders, EFI_START, efi.SECTORS)
    sector = boot_code[:440] + plan.identity.bytes[:4] + b"\0\0" + root + system + bytes(32) + b"\x55\xaa"
    if len(sector) != SECTOR:
        raise ImageBuildError(f"boot.img has {len(boot_code)} bytes of code, not 512")
    return sector
