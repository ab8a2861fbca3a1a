"""Reads the size of a VHD file's disk from its footer, or refuses the file.

Format: Microsoft's "Virtual Hard Disk Image Format Specification". Fixed and dynamic disks are accepted; a differencing
one needs its parent.
"""

import struct
from typing import Final

from stead_controller.blocks.bad_image import SECTOR, BadImageError, Read, check_disk_size

_COOKIE: Final = b"conectix"
_SPARSE: Final = b"cxsparse"
_FOOTER: Final = struct.Struct(">8sIIQI4sI4sQQIII")
_DYNAMIC: Final = struct.Struct(">8sQQIIII")
_FIXED_TYPE, _DYNAMIC_TYPE, _DIFFERENCING_TYPE = 2, 3, 4
_MOST_BYTES: Final = 2040 << 30  # of the format


def disk_size(read: Read, file_size: int) -> int:
    """Return the size in bytes of the disk that a file holds; raises BadImageError."""
    if file_size < SECTOR:
        raise BadImageError("the file is not VHD")
    footer = read(0, SECTOR)
    in_front = footer.startswith(_COOKIE)
    if not in_front:
        footer = read(file_size - SECTOR, SECTOR)
    if len(footer) < SECTOR or not footer.startswith(_COOKIE):
        raise BadImageError("the file is not VHD, or cut short")
    fields = _FOOTER.unpack_from(footer)
    offset, size, kind, checksum = fields[3], fields[9], fields[11], fields[12]
    if checksum != _checksum(footer, 64):
        raise BadImageError("the VHD's footer is damaged")
    if kind == _DIFFERENCING_TYPE:
        raise BadImageError("the VHD has a parent: convert it with `qemu-img convert` first")
    if kind not in (_FIXED_TYPE, _DYNAMIC_TYPE) or in_front != (kind == _DYNAMIC_TYPE):
        raise BadImageError(f"VHD type {kind} is not supported")
    if size > _MOST_BYTES:
        raise BadImageError(f"the image claims a disk of {size} bytes")
    if kind == _FIXED_TYPE:
        if size > file_size - SECTOR:
            raise BadImageError("the VHD is cut short")
    else:
        _check_dynamic(read, offset, file_size, size)
    return check_disk_size(size)


def _check_dynamic(read: Read, offset: int, file_size: int, size: int) -> None:
    head = read(offset, 1024) if 0 < offset < file_size else b""
    if len(head) < 1024 or not head.startswith(_SPARSE):
        raise BadImageError("the VHD's second header is missing")
    _cookie, _next, table, version, entries, block, checksum = _DYNAMIC.unpack_from(head)
    if checksum != _checksum(head, 36) or version != 0x00010000:
        raise BadImageError("the VHD's second header is damaged")
    if not SECTOR <= block <= 256 << 20 or block & (block - 1):
        raise BadImageError(f"the VHD claims blocks of {block} bytes")
    if entries * block < size or entries > -(-_MOST_BYTES // block) or table + 4 * entries > file_size:
        raise BadImageError("the VHD's table is not inside the file: it is cut short or forged")


def _checksum(header: bytes, at: int) -> int:
    """One's complement of the sum of all bytes except the checksum itself."""
    return ~(sum(header) - sum(header[at : at + 4])) & 0xFFFFFFFF
