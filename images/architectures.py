"""The processors that images are for: what EC2 and Debian call them, and what differs between their disks."""

from dataclasses import dataclass
from typing import Final

from images.packages import ImageBuildError


@dataclass(frozen=True)
class Loader:
    """A signed boot loader: the package that has it, its path there, and its name in ``/EFI/BOOT``."""

    package: str
    path: str
    name: str


@dataclass(frozen=True)
class Architecture:
    """One kind of processor; ``name`` is EC2's, ``debian`` Debian's."""

    name: str
    debian: str
    libraries: str
    """The folder of libraries below ``usr/lib/``."""
    linker: str
    """The dynamic linker in that folder."""
    linker_link: str
    """The path at which programs name it, a link."""
    kernel: str
    """Debian's meta package of the kernel for clouds."""
    shim: Loader
    """What firmware starts."""
    grub: Loader
    """What shim starts."""
    has_bios: bool
    """Whether a machine may boot without UEFI."""
    consoles: str
    """Kernel parameters: the last console is the serial port."""


X86_64: Final = Architecture(
    name="x86_64",
    debian="amd64",
    libraries="usr/lib/x86_64-linux-gnu/",
    linker="ld-linux-x86-64.so.2",
    linker_link="usr/lib64/ld-linux-x86-64.so.2",
    kernel="linux-image-cloud-amd64",
    shim=Loader("shim-signed", "usr/lib/shim/shimx64.efi.signed", "BOOTX64.EFI"),
    grub=Loader("grub-efi-amd64-signed", "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "grubx64.efi"),
    has_bios=True,
    consoles="console=tty0 console=ttyS0",
)
ARM64: Final = Architecture(
    name="arm64",
    debian="arm64",
    libraries="usr/lib/aarch64-linux-gnu/",
    linker="ld-linux-aarch64.so.1",
    linker_link="usr/lib/ld-linux-aarch64.so.1",
    kernel="linux-image-cloud-arm64",
    shim=Loader("shim-signed", "usr/lib/shim/shimaa64.efi.signed", "BOOTAA64.EFI"),
    grub=Loader("grub-efi-arm64-signed", "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed", "grubaa64.efi"),
    has_bios=False,
    consoles="console=ttyAMA0",
)
ALL: Final = {architecture.name: architecture for architecture in (X86_64, ARM64)}


def architecture_of(name: str) -> Architecture:
    """Return the architecture of EC2's name; raise ImageBuildError for any other name."""
    if name not in ALL:
        raise ImageBuildError(f"no image can be built for {name}: only for {', '.join(ALL)}")
    return ALL[name]
