"""Checks the tables of a qcow2 file before QEMU reads them: nothing outside the file, no table twice, no cycles.

Each table may be referred to once: so a small file cannot cause much work by naming the same table or cluster again
and again, and no table is its own child. Each L2 table is read once, thus never more than the file's own bytes.
"""

import array
import sys
from typing import Final

from stead_controller.blocks.bad_image import BadImageError, Read
from stead_controller.blocks.qcow2_header import Qcow2Header

_OFFSET: Final = 0x00FFFFFFFFFFFE00
_COMPRESSED: Final = 1 << 62
_MOST_L1: Final = 32 << 20  # bytes; QEMU's own limit
_MOST_REFCOUNTS: Final = 8 << 20  # bytes of the refcount table; QEMU's own limit
_PIECE: Final = 1 << 20
_MOST_CLUSTERS: Final = 64 << 20  # each takes one byte of memory
_MOST_COMPRESSED: Final = 2 << 20  # each takes some 100 bytes of memory


def check_tables(header: Qcow2Header, read: Read, file_size: int) -> None:
    """Walk a file's tables; raises BadImageError for content that no normal program writes."""
    needed = -(-header.virtual_size // header.l2_reach)
    if not needed <= header.l1_entries <= _MOST_L1 // 8:
        raise BadImageError(f"the image claims an L1 table of {header.l1_entries} entries for {needed}")
    if not 0 < header.refcount_clusters <= max(1, _MOST_REFCOUNTS >> header.cluster_bits):
        raise BadImageError(f"the image claims a refcount table of {header.refcount_clusters} clusters")
    l1_bytes = header.l1_entries * 8
    refcount_bytes = header.refcount_clusters << header.cluster_bits
    _require_inside(header, header.l1_offset, l1_bytes, file_size, "L1 table")
    _require_inside(header, header.refcount_offset, refcount_bytes, file_size, "refcount table")
    taken = {0}
    for offset, length in ((header.l1_offset, l1_bytes), (header.refcount_offset, refcount_bytes)):
        clusters = set(range(offset >> header.cluster_bits, (offset + length - 1 >> header.cluster_bits) + 1))
        if taken & clusters:
            raise BadImageError("the image's tables lie over each other")
        taken |= clusters
    tables = []
    for offset in _entries(read, header.l1_offset, l1_bytes):
        table = offset & _OFFSET
        if not table:
            continue
        _require_inside(header, table, header.cluster, file_size, "L2 table")
        if table >> header.cluster_bits in taken:
            raise BadImageError("the image names a table twice, or a table as its own child")
        taken.add(table >> header.cluster_bits)
        tables.append(table)
    clusters_used = _Used(header, file_size, taken)
    for table in tables:
        for entry in _entries(read, table, header.cluster)[:: header.l2_entry // 8]:
            if entry:
                clusters_used.take(entry)


class _Used:
    """The clusters of the file that hold content of the disk."""

    def __init__(self, header: Qcow2Header, file_size: int, tables: set[int]) -> None:
        self._bits = header.cluster_bits
        self._file_size = file_size
        self._tables = tables
        self._compressed_mask = (1 << (62 - (header.cluster_bits - 8))) - 1
        count = (file_size >> header.cluster_bits) + 1
        if count > _MOST_CLUSTERS:
            raise BadImageError(f"the image has too many clusters ({count}): convert it with larger ones")
        self._plain = bytearray(count)
        self._compressed: set[int] = set()

    def take(self, entry: int) -> None:
        """Record an entry of an L2 table; raises BadImageError if its cluster cannot be exclusively its own."""
        is_compressed = bool(entry & _COMPRESSED)
        start = entry & (self._compressed_mask if is_compressed else _OFFSET)
        if not start and not is_compressed:
            return
        cluster = start >> self._bits
        if not is_compressed and cluster << self._bits != start:
            raise BadImageError("the image has a cluster that is not aligned")
        if start >= self._file_size:
            raise BadImageError("the image has clusters beyond its end: it is cut short")
        if cluster in self._tables:
            raise BadImageError("the image gives its own tables as content")
        # Several compressed clusters may begin in one cluster of the file, but none at the same byte.
        if self._plain[cluster] if not is_compressed else start in self._compressed:
            raise BadImageError("the image gives one cluster as the content of several places")
        if is_compressed:
            self._compressed.add(start)
            if len(self._compressed) > _MOST_COMPRESSED:
                raise BadImageError("the image has too many compressed clusters: convert it without `-c`")
        else:
            self._plain[cluster] = 1


def _require_inside(header: Qcow2Header, offset: int, length: int, file_size: int, what: str) -> None:
    if offset == 0 or offset & (header.cluster - 1) or offset + length > file_size:
        raise BadImageError(f"the image's {what} is not inside the file: it is cut short or forged")


def _entries(read: Read, offset: int, length: int) -> array.array[int]:
    """Read a table of 64-bit big-endian numbers; raises BadImageError where the file ends within it."""
    entries = array.array("Q")
    for start in range(0, length, _PIECE):
        wanted = min(_PIECE, length - start)
        piece = read(offset + start, wanted)
        if len(piece) != wanted:
            raise BadImageError("the image is cut short")
        entries.frombytes(piece)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries
