"""GRUB's two images for machines with a BIOS: sector 0, and the core image behind it that loads a kernel from ext4.

For a kernel that the guest itself replaces: GRUB finds it again by its path. It reads 32 sectors a call of the BIOS on
the average, which costs a second under emulation that ``syslinux.py`` does not.
"""

from pathlib import Path

from images.packages import ImageBuildError, run

FOLDER = Path("/usr/lib/grub/i386-pc")
MODULES = ("biosdisk", "part_msdos", "ext2", "linux16")

TOOLS = {"grub-mkimage": "grub-common", str(FOLDER / "boot.img"): "grub-pc-bin"}


def read_boot_code() -> bytes:
    """Return boot.img as built: it looks for the core image at sector 1."""
    return (FOLDER / "boot.img").read_bytes()


def make_core(kernel: str, initrd: str, command_line: str, room: int, scratch: Path) -> bytes:
    """Build GRUB's core image, which loads the kernel at once; raise if it has more than ``room`` bytes.

    ``linux16`` rather than ``linux``: the latter moves the kernel byte by byte, seconds under emulation. The kernel is
    read from the first partition of the disk that the BIOS booted.
    """
    config = scratch / "grub.cfg"
    config.write_text(
        f"linux16 {kernel} {command_line}\n"
        f"initrd16 {initrd}\n"
        "boot\n"
    )  # fmt: skip
    core = scratch / "core.img"
    run(
        [
            "grub-mkimage", "-O", "i386-pc", "-d", str(FOLDER), "-p", "(,msdos1)/boot/grub",
            "-c", str(config), "-o", str(core), *MODULES,
        ]
    )  # fmt: skip
    data = core.read_bytes()
    if len(data) > room:
        raise ImageBuildError(f"GRUB's core image has {len(data)} bytes and does not fit before the partition")
    return data
