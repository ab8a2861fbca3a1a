"""Finds the size of the disk in a file of a given format, or refuses the file, before any tool of QEMU reads it.

The format is given, never guessed; a file that begins like one of another format is refused as a mistake or an attack.
"""

from collections.abc import Callable, Mapping
from typing import Final

from stead_controller.blocks import qcow2_header, qcow2_tables, vhd_header, vhdx_header, vmdk_header
from stead_controller.blocks.bad_image import SECTOR, BadImageError, Read, check_disk_size

# The first bytes of files of other formats; a raw disk begins with a boot sector.
_MAGICS: Final[Mapping[bytes, str]] = {
    b"QFI\xfb": "qcow2",
    b"QED\0": "QED",
    b"KDMV": "VMDK",
    b"COWD": "VMDK",
    b"# Disk Desc": "a VMDK descriptor",
    b"conectix": "VHD",
    b"vhdxfile": "VHDX",
    b"<<< ": "VDI",
    b"LUKS\xba\xbe": "LUKS",
    b"WithoutFree": "Parallels",
    b"WithouFreSp": "Parallels",
}


def check(image_format: str, read: Read, file_size: int) -> int:
    """Return the size in bytes of the disk that a file of this format holds; raises BadImageError."""
    known = _CHECKS.get(image_format)
    if known is None:
        raise BadImageError(f"'{image_format}' is no image format: {', '.join(_CHECKS)}")
    return known(read, file_size)


def _raw(read: Read, file_size: int) -> int:
    start = read(0, SECTOR)
    for magic, name in _MAGICS.items():
        if start.startswith(magic):
            raise BadImageError(f"the file is said to be raw but begins as {name}: say its format")
    if file_size % SECTOR:
        raise BadImageError(f"a raw disk of {file_size} bytes is not whole sectors of {SECTOR}")
    return check_disk_size(file_size)


def _qcow2(read: Read, file_size: int) -> int:
    header = qcow2_header.parse(read(0, qcow2_header.HEADER_BYTES))
    qcow2_header.check_extensions(header, read(0, header.cluster))
    qcow2_tables.check_tables(header, read, file_size)
    return header.virtual_size


_CHECKS: Final[Mapping[str, Callable[[Read, int], int]]] = {
    "qcow2": _qcow2,
    "raw": _raw,
    "vmdk": vmdk_header.disk_size,
    "vhd": vhd_header.disk_size,
    "vhdx": vhdx_header.disk_size,
}
FORMATS: Final = tuple(_CHECKS)
"""The formats that are taken, by the names that their files have."""
