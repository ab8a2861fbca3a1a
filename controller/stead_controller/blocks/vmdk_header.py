"""Reads the size of a VMDK file's disk from its header and descriptor, or refuses the file.

Format: VMware's "Virtual Disk Format 5.0". Only disks whose data are in the one file are accepted (monolithicSparse and
streamOptimized); a descriptor that names other files (flat, twoGbMaxExtent…, a parent) would make QEMU open them.
"""

import re
import struct
from typing import Final

from stead_controller.blocks.bad_image import SECTOR, BadImageError, Read, check_disk_size

_MAGIC: Final = b"KDMV"
_HEAD: Final = struct.Struct("<4sIIQQQQIQQQB")
_AT_END: Final = 0xFFFFFFFFFFFFFFFF
_KNOWN_FLAGS: Final = 0x30003  # newline test, redundant table, compressed grains, markers
_MOST_DESCRIPTOR: Final = 20 << 10
_KINDS: Final = ("monolithicsparse", "streamoptimized")
_EXTENT: Final = re.compile(r"(?im)^\s*(?:RW|RDONLY|NOACCESS)\s+(\d+)\s+(\w+)")


def disk_size(read: Read, file_size: int) -> int:
    """Return the size in bytes of the disk that a file holds; raises BadImageError."""
    head = read(0, SECTOR)
    if head.startswith((b"# Disk Desc", b"#")) or not head.startswith(_MAGIC):
        raise BadImageError("the file is no VMDK with its data inside: a descriptor of other files is not taken")
    capacity, at_end = _check(head, file_size)
    if at_end:
        footer = read(file_size - 2 * SECTOR, SECTOR)
        if not footer.startswith(_MAGIC):
            raise BadImageError("the VMDK has no footer: it is cut short")
        if _check(footer, file_size) != (capacity, False):
            raise BadImageError("the VMDK's footer contradicts its header")
    _check_descriptor(head, read, file_size, capacity)
    return check_disk_size(capacity * SECTOR)


def _check(head: bytes, file_size: int) -> tuple[int, bool]:
    """Check a header or footer; return the disk's sectors and whether the tables are named in the footer."""
    if len(head) < _HEAD.size:
        raise BadImageError("the header is cut short")
    fields = _HEAD.unpack_from(head)
    version, flags, capacity, grain = fields[1], fields[2], fields[3], fields[4]
    table_entries, table_offset = fields[7], fields[9]
    if version not in (1, 2, 3):
        raise BadImageError(f"VMDK version {version} is not supported")
    if flags & ~_KNOWN_FLAGS:
        raise BadImageError(f"the VMDK needs features that are not known ({flags & ~_KNOWN_FLAGS:#x})")
    if not capacity:
        raise BadImageError("the VMDK only describes other files")
    check_disk_size(capacity * SECTOR)
    if not 8 <= grain <= 2048 or grain & (grain - 1) or not 0 < table_entries <= 512:
        raise BadImageError(f"the VMDK claims grains of {grain} sectors and tables of {table_entries} entries")
    at_end = table_offset == _AT_END
    tables = -(-capacity // (grain * table_entries))
    if not at_end and table_offset * SECTOR + 4 * tables > file_size:
        raise BadImageError("the VMDK's tables are not inside the file: it is cut short or forged")
    return capacity, at_end


def _check_descriptor(head: bytes, read: Read, file_size: int, capacity: int) -> None:
    """Refuse an embedded descriptor that refers to other files."""
    fields = _HEAD.unpack_from(head)
    offset, length = fields[5] * SECTOR, fields[6] * SECTOR
    if not offset or not 0 < length <= _MOST_DESCRIPTOR or offset + length > file_size:
        raise BadImageError("the VMDK's descriptor is not inside the file")
    text = read(offset, length).split(b"\0", 1)[0].decode("utf-8", "replace")
    said = {
        key.strip().lower(): value.strip().strip('"')
        for key, separator, value in (line.partition("=") for line in text.splitlines())
        if separator
    }
    if "parentfilenamehint" in said or said.get("parentcid", "ffffffff").lower() != "ffffffff":
        raise BadImageError("the VMDK has a parent: convert it with `qemu-img convert` first")
    if said.get("createtype", "").lower() not in _KINDS:
        kind = said.get("createtype", "")
        raise BadImageError(f"the VMDK is of type '{kind}': only monolithicSparse and streamOptimized are taken")
    extents = _EXTENT.findall(text)
    if len(extents) != 1 or extents[0][1].upper() != "SPARSE":
        raise BadImageError("the VMDK's descriptor names other files")
    if int(extents[0][0][:20]) != capacity:
        raise BadImageError("the VMDK's descriptor and header differ")
