"""Reads the size of a VHDX file's disk from its regions and metadata, or refuses the file.

Format: [MS-VHDX]. A disk with a parent is refused, and one whose log must be replayed first.
"""

import struct
import uuid
from typing import Final

from stead_controller.blocks.bad_image import SECTOR, BadImageError, Read, check_disk_size

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_HEADERS: Final = (64 * _KIB, 128 * _KIB)
_REGIONS: Final = 192 * _KIB
_HEADER: Final = struct.Struct("<4sIQ16s16s16sHHIQ")
_REGION_TABLE: Final = struct.Struct("<4sIII")
_REGION: Final = struct.Struct("<16sQII")
_METADATA_TABLE: Final = struct.Struct("<8sHH20x")
_ITEM: Final = struct.Struct("<16sIIII")


def _guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


_METADATA: Final = _guid("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_BAT: Final = _guid("2dc27766-f623-4200-9d64-115e9bfd4a08")
_FILE_PARAMETERS: Final = _guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_DISK_SIZE: Final = _guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_PAGE_83: Final = _guid("beca12ab-b2e6-4523-93ef-c309e000c746")
_LOGICAL_SECTOR: Final = _guid("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL_SECTOR: Final = _guid("cda348c7-445d-4471-9cc9-e9885251c556")
_PARENT: Final = _guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_KNOWN: Final = {_FILE_PARAMETERS, _DISK_SIZE, _PAGE_83, _LOGICAL_SECTOR, _PHYSICAL_SECTOR}
_HAS_PARENT: Final = 2
_MOST_ITEMS: Final = 2047


def disk_size(read: Read, file_size: int) -> int:
    """Return the size in bytes of the disk that a file holds; raises BadImageError."""
    if not read(0, 8).startswith(b"vhdxfile"):
        raise BadImageError("the file is not VHDX")
    _check_log(read)
    metadata = _check_regions(read, file_size)
    items = _items(read, metadata)
    if _PARENT in items:
        raise BadImageError("the VHDX has a parent: convert it with `qemu-img convert` first")
    missing = {_FILE_PARAMETERS, _DISK_SIZE, _LOGICAL_SECTOR} - set(items)
    if missing:
        raise BadImageError("the VHDX does not say how large its disk is")
    block, flags = struct.unpack_from("<II", items[_FILE_PARAMETERS])
    if flags & _HAS_PARENT:
        raise BadImageError("the VHDX has a parent: convert it with `qemu-img convert` first")
    if not _MIB <= block <= 256 * _MIB or block & (block - 1):
        raise BadImageError(f"the VHDX claims blocks of {block} bytes")
    (sector,) = struct.unpack_from("<I", items[_LOGICAL_SECTOR])
    if sector != SECTOR:
        raise BadImageError(f"the VHDX has sectors of {sector} bytes: only 512 are taken")
    return check_disk_size(struct.unpack_from("<Q", items[_DISK_SIZE])[0])


def _check_log(read: Read) -> None:
    """Refuse a file that was not closed cleanly: the newer of its two headers names a log."""
    found = []
    for offset in _HEADERS:
        head = read(offset, _HEADER.size)
        if len(head) == _HEADER.size and head.startswith(b"head"):
            fields = _HEADER.unpack(head)
            found.append((fields[2], fields[5]))
    if not found:
        raise BadImageError("the VHDX has no header, or is cut short")
    if max(found)[1] != bytes(16):
        raise BadImageError("the VHDX was not closed cleanly: open it once where it was made")


def _check_regions(read: Read, file_size: int) -> int:
    """Check the region table; return where the metadata are."""
    head = read(_REGIONS, 64 * _KIB)
    if len(head) < 64 * _KIB or not head.startswith(b"regi"):
        raise BadImageError("the VHDX has no regions, or is cut short")
    count = _REGION_TABLE.unpack_from(head)[2]
    if count > _MOST_ITEMS:
        raise BadImageError(f"the VHDX claims {count} regions")
    found: dict[bytes, int] = {}
    for number in range(count):
        kind, offset, length, required = _REGION.unpack_from(head, _REGION_TABLE.size + number * _REGION.size)
        if kind not in (_METADATA, _BAT):
            if required & 1:
                raise BadImageError("the VHDX needs features that are not known")
            continue
        if kind in found or offset < _MIB or not length or offset + length > file_size:
            raise BadImageError("the VHDX's regions are not inside the file: it is cut short or forged")
        found[kind] = offset
    if set(found) != {_METADATA, _BAT}:
        raise BadImageError("the VHDX lacks a region")
    return found[_METADATA]


def _items(read: Read, metadata: int) -> dict[bytes, bytes]:
    """Read the small items of the metadata; raises BadImageError for a required one that is not known."""
    table = read(metadata, 64 * _KIB)
    if len(table) < 64 * _KIB or not table.startswith(b"metadata"):
        raise BadImageError("the VHDX has no metadata")
    count = _METADATA_TABLE.unpack_from(table)[2]
    if count > _MOST_ITEMS:
        raise BadImageError(f"the VHDX claims {count} items of metadata")
    found: dict[bytes, bytes] = {}
    for number in range(count):
        kind, offset, length, flags, _rest = _ITEM.unpack_from(table, _METADATA_TABLE.size + number * _ITEM.size)
        if kind == _PARENT:
            found[kind] = b""
            continue
        if kind not in _KNOWN:
            if flags & 4:
                raise BadImageError("the VHDX needs features that are not known")
            continue
        if kind in found or not 64 * _KIB <= offset < _MIB or not 4 <= length <= 16:
            raise BadImageError("the VHDX's metadata are forged")
        content = read(metadata + offset, length)
        if len(content) != length or (kind in (_FILE_PARAMETERS, _DISK_SIZE) and length < 8):
            raise BadImageError("the VHDX is cut short")
        found[kind] = content
    return found
