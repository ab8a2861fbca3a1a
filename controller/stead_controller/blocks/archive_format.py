"""The form of an archived snapshot's pieces: blocks packed together, in chunks that are the snapshot's own; pure.

A piece has the blocks of 32 MiB of a disk. It is one frame of Zstandard with a long window, of the blocks' places and
digests and of the blocks themselves, in chunks that are stored as blocks are. Each begins with a mark that no chunk of
another snapshot or place has, so that no two archives share one, even of equal disks.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import zstandard

from stead_proto.blocks import BLOCK_BYTES, DIGEST_BYTES, BadBlockError, digest_of

PIECE_BLOCKS: Final = 64
"""Blocks of a piece at most: what is in memory at once."""

_MAGIC: Final = b"stead-ar"
_MARK_BYTES: Final = 20
_LENGTH_BYTES: Final = 4
_HEAD_BYTES: Final = len(_MAGIC) + _MARK_BYTES + _LENGTH_BYTES
_PAYLOAD_BYTES: Final = BLOCK_BYTES - _HEAD_BYTES
_LEVEL: Final = 9
_WINDOW_LOG: Final = 25  # 32 MiB: all of a piece
_ENTRY_BYTES: Final = 1 + DIGEST_BYTES
_MOST_BYTES: Final = 1 + PIECE_BLOCKS * (_ENTRY_BYTES + BLOCK_BYTES)


def pack_piece(snapshot_id: str, position: int, contents: Mapping[int, bytes]) -> list[bytes]:
    """Return the chunks of a piece, each as long as a block, from its blocks by their places in it."""
    places = sorted(contents)
    entries = b"".join(place.to_bytes(1, "big") + digest_of(contents[place]) for place in places)
    whole = b"".join([len(places).to_bytes(1, "big"), entries, *(contents[place] for place in places)])
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=_WINDOW_LOG, enable_ldm=True, write_checksum=False
    )
    packed = zstandard.ZstdCompressor(compression_params=parameters).compress(whole)
    return [
        _chunk(snapshot_id, position, number, packed[at : at + _PAYLOAD_BYTES])
        for number, at in enumerate(range(0, len(packed), _PAYLOAD_BYTES))
    ]


def unpack_piece(snapshot_id: str, position: int, chunks: Sequence[bytes]) -> dict[int, bytes]:
    """Return the blocks of a piece by their places in it, each checked by its digest; raises BadBlockError."""
    where = f"piece {position} of the archive of {snapshot_id}"
    packed = b"".join(_payload(snapshot_id, position, number, chunk) for number, chunk in enumerate(chunks))
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).stream_reader(packed)
        whole = reader.read(_MOST_BYTES + 1)
    except zstandard.ZstdError as error:
        raise BadBlockError(f"{where} cannot be unpacked: {error}") from error
    count = whole[0] if whole else 0
    first = 1 + count * _ENTRY_BYTES
    if len(whole) != first + count * BLOCK_BYTES:
        raise BadBlockError(f"{where} has another length")
    found = {}
    for number in range(count):
        entry = whole[1 + number * _ENTRY_BYTES :][:_ENTRY_BYTES]
        content = whole[first + number * BLOCK_BYTES :][:BLOCK_BYTES]
        if digest_of(content) != entry[1:]:
            raise BadBlockError(f"{where} has another content")
        found[entry[0]] = content
    return found


def _mark(snapshot_id: str, position: int, number: int) -> bytes:
    return hashlib.sha256(f"{snapshot_id} {position} {number}".encode()).digest()[:_MARK_BYTES]


def _chunk(snapshot_id: str, position: int, number: int, payload: bytes) -> bytes:
    head = _MAGIC + _mark(snapshot_id, position, number) + len(payload).to_bytes(_LENGTH_BYTES, "big")
    return (head + payload).ljust(BLOCK_BYTES, b"\0")


def _payload(snapshot_id: str, position: int, number: int, chunk: bytes) -> bytes:
    """Return what is in a chunk; raises BadBlockError for one of another archive or place."""
    head, rest = chunk[:_HEAD_BYTES], chunk[_HEAD_BYTES:]
    if head[:-_LENGTH_BYTES] != _MAGIC + _mark(snapshot_id, position, number):
        raise BadBlockError(f"chunk {number} of piece {position} is not of the archive of {snapshot_id}")
    return rest[: int.from_bytes(head[-_LENGTH_BYTES:], "big")]
