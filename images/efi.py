"""Debian's signed boot loaders become an EFI system partition, so that an image boots by UEFI, and with secure boot.

Firmware starts shim, which Microsoft has signed; shim starts GRUB, and GRUB the kernel, both signed by Debian. They are
read from the packages: installed, they would change how the building machine itself boots.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.architectures import Architecture
from images.packages import ImageBuildError, PackageCache, read_members, run

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


def boot_files(loaders: Loaders, config: str) -> dict[str, bytes]:
    """Return by path what firmware looks for on any disk, and the configuration that Debian's signed GRUB looks for."""
    return {
        f"EFI/BOOT/{loaders.architecture.shim.name}": loaders.shim,
        f"EFI/BOOT/{loaders.architecture.grub.name}": loaders.grub,
        "EFI/debian/grub.cfg": config.encode(),
    }


def make_partition(made: Path, sectors: int, start: int, serial: str, time: int) -> None:
    """Make a FAT file system that begins at sector ``start`` of its disk, with the folders of ``boot_files``.

    ``serial`` has eight hexadecimal digits, ``time`` is in seconds since 1970.
    """
    with made.open("wb") as file:
        file.truncate(sectors * 512)
    layout = ["-T", str(sectors), "-h", "16", "-s", "32", "-H", str(start), "-N", serial]
    run(["mformat", "-i", str(made), *layout, "::"], env=_environment(time))
    run(["mmd", "-i", str(made), "::/EFI", "::/EFI/BOOT", "::/EFI/debian"], env=_environment(time))


def copy_files(made: Path, files: Mapping[str, bytes], time: int, scratch: Path) -> None:
    """Write files into such a file system, one behind the other; raise ImageBuildError when they do not fit."""
    for place, content in files.items():
        source = scratch / Path(place).name
        source.write_bytes(content)
        run(["mcopy", "-i", str(made), str(source), f"::/{place}"], env=_environment(time))


def _environment(time: int) -> dict[str, str]:
    """The environment in which mtools' programs write the same bytes at any time and place."""
    return {**os.environ, "SOURCE_DATE_EPOCH": str(time), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
