"""Debian's signed boot loaders become an EFI system partition, so that an image boots by UEFI, and with secure boot.

Firmware starts shim, which Microsoft has signed; shim starts GRUB, and GRUB the kernel, both signed by Debian. They are
read from the packages: installed, they would change how the building machine itself boots.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.architectures import Architecture
from images.packages import ImageBuildError, PackageCache, read_members, run

SECTORS: Final = 7 * 2048  # 7 MiB: room for loaders twice as large
TOOLS: Final = {"mformat": "mtools", "mmd": "mtools", "mcopy": "mtools"}


@dataclass(frozen=True)
class Loaders:
    """The programs that firmware and shim start on an architecture."""

    architecture: Architecture
    shim: bytes
    grub: bytes


def read_loaders(store: PackageCache, architecture: Architecture) -> Loaders:
    """Read the loaders from their packages; raise ImageBuildError when a package has no such file any more."""
    shim, grub = architecture.shim, architecture.grub
    debs = store.fetch([shim.package, grub.package])
    return Loaders(architecture, _member(debs[shim.package], shim.path), _member(debs[grub.package], grub.path))


def _member(deb: Path, path: str) -> bytes:
    """Read one file of a package."""
    for _, data in read_members(deb, lambda name: name == path):
        return data
    raise ImageBuildError(f"{deb.name} has no {path}")


def make_partition(loaders: Loaders, config: str, time: int, serial: str, scratch: Path) -> bytes:
    """Make a FAT file system with the loaders where firmware looks on any disk, and GRUB's configuration.

    Debian's signed GRUB reads it from ``/EFI/debian``; ``serial`` has eight hexadecimal digits, ``time`` is in seconds
    since 1970.
    """
    made = scratch / "efi.img"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(time), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    with made.open("wb") as file:
        file.truncate(SECTORS * 512)
    run(["mformat", "-i", str(made), "-T", str(SECTORS), "-h", "16", "-s", "32", "-N", serial, "::"], env=environment)
    run(["mmd", "-i", str(made), "::/EFI", "::/EFI/BOOT", "::/EFI/debian"], env=environment)
    files = {
        f"EFI/BOOT/{loaders.architecture.shim.name}": loaders.shim,
        f"EFI/BOOT/{loaders.architecture.grub.name}": loaders.grub,
        "EFI/debian/grub.cfg": config.encode(),
    }
    for place, content in files.items():
        source = scratch / Path(place).name
        source.write_bytes(content)
        run(["mcopy", "-i", str(made), str(source), f"::/{place}"], env=environment)
    return made.read_bytes()
