"""The first bytes of a qcow2 file become what it claims to be, or a refusal: image files are hostile input.

Format: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt. A file that refers to any other
file (backing file, external data file) is refused, since QEMU would open that on the host.
"""

import struct
from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 112
MOST_BYTES: Final = 64 << 40
_MAGIC: Final = b"QFI\xfb"
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_HEAD: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_VERSION_3: Final = struct.Struct(">QQQII")


class BadImageError(ValueError):
    """A file that is not an image we take; the message tells the operator why."""


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """What counts of a header: the size of the disk in bytes, and that of a cluster."""

    virtual_size: int
    cluster_bits: int


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
    if version == 3:
        _check_features(head)
    return Qcow2Header(virtual_size, cluster_bits)


def _check_features(head: bytes) -> None:
    if len(head) < _HEAD.size + _VERSION_3.size:
        raise BadImageError("the header is cut short")
    incompatible = _VERSION_3.unpack_from(head, _HEAD.size)[0]
    if incompatible & _EXTERNAL_DATA:
        raise BadImageError("the image keeps its data in another file")
    if incompatible & (_DIRTY | _CORRUPT):
        raise BadImageError("the image was not closed cleanly or is corrupt: run `qemu-img check -r all` on it")
    unknown = incompatible & ~(_COMPRESSION | _EXTENDED_L2)
    if unknown:
        raise BadImageError(f"the image needs features that are not known ({unknown:#x})")
