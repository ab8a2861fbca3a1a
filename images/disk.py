"""A tar of a root file system becomes a qcow2 that boots by UEFI, and by BIOS: MBR, FAT, ext4; no loop mounts or root.

Layout: sector 0 the boot loader's first code with the partition table, the EFI system partition from 1 MiB, and behind
it the ext4 partition to the end, so that it can grow. The latter is the first in the table: guests know it as such.

The kernel is in either. In the system partition, which SYSLINUX starts where there is a BIOS; or, as a guest that
replaces its kernel needs it, in the root file system: then sectors 1.. are GRUB's core image, as built. Where machines
have no BIOS, both loaders for it are left out.
"""

import os
import struct
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from images import efi, grub, syslinux
from images.efi import Loaders
from images.packages import ImageBuildError, run

SECTOR = 512
EFI_START = 2048  # sectors, 1 MiB
LARGEST_BLOCKS = 2**32 * SECTOR // 4096  # an MBR partition ends at 2 TiB

TOOLS = {
    **efi.TOOLS,
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
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
    """Path of the kernel in its file system."""
    initrd: str
    command_line: str
    system_mib: int = 7
    """Size of the EFI system partition: room for loaders twice as large as they are, and for a kernel that is there."""

    @property
    def root_start(self) -> int:
        """Where the root file system's partition begins, in sectors."""
        return EFI_START + self.system_mib * 2048


@dataclass(frozen=True)
class Kernel:
    """A kernel and its initrd that are to be in the EFI system partition, at the paths of the plan."""

    image: bytes
    initrd: bytes


def build_disk(tar: Path, plan: DiskPlan, loaders: Loaders, output: Path, kernel: Kernel | None = None) -> None:
    """Write ``output`` (qcow2, replaced at once when complete) from a tar of the root file system.

    Without ``kernel`` the plan's kernel is in the root file system.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
        scratch = Path(folder)
        raw = scratch / "disk.raw"
        make_file_system(tar, plan, raw)
        boot_code, core = make_bios_code(plan, loaders, kernel, scratch)
        system_partition = make_system_partition(plan, loaders, kernel, scratch)
        with raw.open("r+b") as disk:
            disk.write(master_boot_record(boot_code, plan, system_boots=kernel is not None))
            disk.write(core)
            disk.seek(EFI_START * SECTOR)
            disk.write(system_partition)
        made = scratch / "disk.qcow2"
        convert = ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"]
        run([*convert, str(raw), str(made)])
        made.replace(output)


def make_bios_code(plan: DiskPlan, loaders: Loaders, kernel: Kernel | None, scratch: Path) -> tuple[bytes, bytes]:
    """Return the code of sector 0 and what is to be at the sectors from 1."""
    if not loaders.architecture.has_bios:
        return bytes(SECTOR), b""
    if kernel is not None:
        return syslinux.read_boot_code(), b""
    room = (EFI_START - 1) * SECTOR
    return grub.read_boot_code(), grub.make_core(plan.kernel, plan.initrd, plan.command_line, room, scratch)


def make_system_partition(plan: DiskPlan, loaders: Loaders, kernel: Kernel | None, scratch: Path) -> bytes:
    """Make the partition that UEFI boots from, with the kernel if it is to be there; then a BIOS boots from it, too."""
    files = efi.boot_files(loaders, efi_config(plan, in_root=kernel is None))
    if kernel is not None:
        files |= {plan.kernel.lstrip("/"): kernel.image, plan.initrd.lstrip("/"): kernel.initrd}
        files["syslinux.cfg"] = syslinux.config(plan.kernel, plan.initrd, plan.command_line).encode()
    made = scratch / "system.img"
    efi.make_partition(made, plan.system_mib * 2048, EFI_START, plan.identity.hex[:8], plan.time)
    if kernel is not None and loaders.architecture.has_bios:
        syslinux.install(made, plan.time)
    efi.copy_files(made, files, plan.time, scratch)
    return made.read_bytes()


def make_file_system(tar: Path, plan: DiskPlan, raw: Path) -> None:
    """Make the sparse file ``raw`` of the plan's size with the ext4 partition's contents in their place.

    resize_inode, with room for the largest MBR partition, lets it grow while mounted. The journal keeps a
    crash-consistent snapshot mountable.
    """
    partition_sectors = plan.size_mib * 2048 - plan.root_start
    extended = (
        f"offset={plan.root_start * SECTOR}", f"hash_seed={plan.identity}", f"resize={LARGEST_BLOCKS}",
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


def efi_config(plan: DiskPlan, *, in_root: bool) -> str:
    """Render the configuration of GRUB for UEFI: load the kernel at once.

    It is where GRUB itself is, or in the root file system, which is found by its uuid.
    """
    find = f"search --no-floppy --fs-uuid --set=root {plan.identity}\n" if in_root else ""
    return (
        f"{find}"
        f"linux {plan.kernel} {plan.command_line}\n"
        f"initrd {plan.initrd}\n"
        "boot\n"
    )  # fmt: skip


def master_boot_record(boot_code: bytes, plan: DiskPlan, *, system_boots: bool) -> bytes:
    """Return sector 0: boot code, disk signature, a Linux partition to the disk's end, and the EFI system's.

    One of them is active: by BIOS, boot code that asks which starts that one.
    """
    cylinders = b"\xfe\xff\xff"  # addresses by cylinder, head and sector: not used
    root_active, system_active = (0, 0x80) if system_boots else (0x80, 0)
    sectors = plan.size_mib * 2048 - plan.root_start
    root = struct.pack("<B3sB3sII", root_active, cylinders, 0x83, cylinders, plan.root_start, sectors)
    system_sectors = plan.system_mib * 2048
    system = struct.pack("<B3sB3sII", system_active, cylinders, 0xEF, cylinders, EFI_START, system_sectors)
    sector = boot_code[:440] + plan.identity.bytes[:4] + b"\0\0" + root + system + bytes(32) + b"\x55\xaa"
    if len(sector) != SECTOR:
        raise ImageBuildError(f"the boot code has {len(boot_code)} bytes, not 512")
    return sector
