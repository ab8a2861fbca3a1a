"""Parses the first bytes of a qcow2 file, or refuses it: image files are hostile input.

Format: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt. A file that refers to any other
file (backing file, external data file) is refused, since QEMU would open that on the host.
"""

import struct
from dataclasses import dataclass
from typing import Final

from stead_controller.blocks.bad_image import MOST_BYTES, BadImageError

HEADER_BYTES: Final = 112
_MAGIC: Final = b"QFI\xfb"
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_HEAD: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_VERSION_3: Final = struct.Struct(">QQQII")
_EXTENSION: Final = struct.Struct(">II")
_VERSION_2_BYTES: Final = 72

# Header extensions that refer to other files or to keys; a backing format's name (0xe2792aca) alone is harmless.
_BAD_EXTENSIONS: Final = {
    0x44415441: "the image keeps its data in another file",
    0x0537BE77: "the image is encrypted",
    0x23852875: "the image has dirty bitmaps: convert it with `qemu-img convert` first",
}
_MOST_EXTENSIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """The relevant header fields: sizes in bytes, offsets of tables in the file, and the L1 table's entry count."""

    virtual_size: int
    cluster_bits: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    length: int
    extended_l2: bool

    @property
    def cluster(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def l2_entry(self) -> int:
        """Bytes of an entry of an L2 table."""
        return 16 if self.extended_l2 else 8

    @property
    def l2_reach(self) -> int:
        """Bytes of the disk that one L2 table describes."""
        return self.cluster // self.l2_entry * self.cluster


def parse(head: bytes) -> Qcow2Header:
    """Read a header from the first `HEADER_BYTES` of a file; raises BadImageError."""
    if len(head) < _HEAD.size or not head.startswith(_MAGIC):
        raise BadImageError("the file is not qcow2")
    fields = _HEAD.unpack_from(head)
    version, backing_offset, backing_size = fields[1], fields[2], fields[3]
    cluster_bits, virtual_size, encryption = fields[4], fields[5], fields[6]
    snapshots = fields[11]
    if version not in (2, 3):
        raise BadImageError(f"qcow2 version {version} is not supported")
    if backing_offset or backing_size:
        raise BadImageError("the image has a backing file: convert it with `qemu-img convert` first")
    if encryption:
        raise BadImageError("the image is encrypted")
    if snapshots:
        raise BadImageError("the image has internal snapshots: convert it with `qemu-img convert` first")
    if not 9 <= cluster_bits <= 21:
        raise BadImageError(f"the image claims clusters of 2^{cluster_bits} bytes")
    if not 0 < virtual_size <= MOST_BYTES or virtual_size % 512:
        raise BadImageError(f"the image claims a disk of {virtual_size} bytes")
    length, extended = _check_features(head, cluster_bits) if version == 3 else (_VERSION_2_BYTES, False)
    return Qcow2Header(
        virtual_size,
        cluster_bits,
        l1_entries=fields[7],
        l1_offset=fields[8],
        refcount_offset=fields[9],
        refcount_clusters=fields[10],
        length=length,
        extended_l2=extended,
    )


def _check_features(head: bytes, cluster_bits: int) -> tuple[int, bool]:
    """Check the fields of version 3; return the header's length in bytes and whether L2 entries are extended."""
    if len(head) < _HEAD.size + _VERSION_3.size:
        raise BadImageError("the header is cut short")
    incompatible, _compatible, _autoclear, refcount_order, length = _VERSION_3.unpack_from(head, _HEAD.size)
    if incompatible & _EXTERNAL_DATA:
        raise BadImageError("the image keeps its data in another file")
    if incompatible & (_DIRTY | _CORRUPT):
        raise BadImageError("the image was not closed cleanly or is corrupt: run `qemu-img check -r all` on it")
    unknown = incompatible & ~(_COMPRESSION | _EXTENDED_L2)
    if unknown:
        raise BadImageError(f"the image needs features that are not known ({unknown:#x})")
    if refcount_order > 6:
        raise BadImageError(f"the image claims reference counts of 2^{refcount_order} bits")
    if length < _HEAD.size + _VERSION_3.size or length % 8 or length > 1 << cluster_bits:
        raise BadImageError(f"the image claims a header of {length} bytes")
    return length, bool(incompatible & _EXTENDED_L2)


def check_extensions(header: Qcow2Header, start: bytes) -> None:
    """Refuse header extensions that refer to other files or keys; `start` is the file's first cluster."""
    offset = header.length
    for _number in range(_MOST_EXTENSIONS):
        if offset + _EXTENSION.size > len(start):
            return
        kind, length = _EXTENSION.unpack_from(start, offset)
        if kind == 0:
            return
        if kind in _BAD_EXTENSIONS:
            raise BadImageError(_BAD_EXTENSIONS[kind])
        offset += _EXTENSION.size + length + -length % 8
    raise BadImageError(f"the image has more than {_MOST_EXTENSIONS} header extensions")
