"""The messages of the NBD protocol as bytes, both ways. Pure.

Numbers and layouts are those of the protocol's document (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md):
the fixed newstyle handshake, structured replies, and block status with metadata contexts.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

GREETING: Final = struct.Struct(">QQH")  # NBDMAGIC, IHAVEOPT, handshake flags
GREETING_MAGIC: Final = 0x4E42444D41474943
OPTION_MAGIC: Final = 0x49484156454F5054
OPTION: Final = struct.Struct(">QII")  # IHAVEOPT, option, length
OPTION_REPLY: Final = struct.Struct(">QIII")  # magic, option, kind, length
OPTION_REPLY_MAGIC: Final = 0x0003E889045565A9
CLIENT_FLAGS: Final = struct.Struct(">I")

FIXED_NEWSTYLE: Final = 1
NO_ZEROES: Final = 2

OPTION_ABORT: Final = 2
OPTION_GO: Final = 7
OPTION_INFO: Final = 6
OPTION_STRUCTURED_REPLY: Final = 8
OPTION_SET_META_CONTEXT: Final = 10

REPLY_ACK: Final = 1
REPLY_INFO: Final = 3
REPLY_META_CONTEXT: Final = 4
REPLY_ERROR: Final = 1 << 31
REPLY_UNSUPPORTED: Final = REPLY_ERROR | 1
REPLY_INVALID: Final = REPLY_ERROR | 3
REPLY_UNKNOWN: Final = REPLY_ERROR | 6

INFO_EXPORT: Final = struct.Struct(">HQH")  # 0, size, transmission flags
INFO_BLOCK_SIZE: Final = struct.Struct(">HIII")  # 3, smallest, preferred, largest
KIND_EXPORT: Final = 0
KIND_BLOCK_SIZE: Final = 3

FLAGS_KNOWN: Final = 1
FLAG_READ_ONLY: Final = 2
FLAG_MULTI_CONN: Final = 256

REQUEST: Final = struct.Struct(">IHHQQI")  # magic, flags, command, cookie, offset, length
REQUEST_MAGIC: Final = 0x25609513
READ: Final = 0
WRITE: Final = 1
DISCONNECT: Final = 2
FLUSH: Final = 3
BLOCK_STATUS: Final = 7
ONE_EXTENT: Final = 1 << 3  # NBD_CMD_FLAG_REQ_ONE

SIMPLE_REPLY: Final = struct.Struct(">IIQ")  # magic, error, cookie
SIMPLE_REPLY_MAGIC: Final = 0x67446698
CHUNK: Final = struct.Struct(">IHHQI")  # magic, flags, kind, cookie, length
CHUNK_MAGIC: Final = 0x668E33EF
CHUNK_DONE: Final = 1
CHUNK_NONE: Final = 0
CHUNK_DATA: Final = 1
CHUNK_HOLE: Final = 2
CHUNK_BLOCK_STATUS: Final = 5
CHUNK_ERROR: Final = (1 << 15) | 1
CHUNK_IS_ERROR: Final = 1 << 15
HOLE: Final = struct.Struct(">QI")
EXTENT: Final = struct.Struct(">II")  # length, flags
ERROR: Final = struct.Struct(">IH")

ALLOCATION: Final = "base:allocation"
"""The context of allocation; flags HOLE and ZERO."""
IS_HOLE: Final = 1
IS_ZERO: Final = 2
IS_DIRTY: Final = 1
"""Flag of `qemu:dirty-bitmap:…` (QEMU's docs/interop/nbd.rst)."""

EPERM: Final = 1
EIO: Final = 5
EINVAL: Final = 22

LARGEST_READ: Final = 32 << 20
"""The request size that every server must support if none was negotiated."""

LONGEST_OPTION: Final = 64 << 10
LONGEST_NAME: Final = 4096


class NbdError(Exception):
    """The other side violated the protocol, refused, failed to read, or disconnected."""


class Extent(NamedTuple):
    """Consecutive bytes of a disk that share the flags of a context."""

    offset: int
    length: int
    flags: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The head of a structured reply, or of a simple one as if it were one."""

    kind: int
    cookie: int
    length: int
    is_last: bool


def pack_option(option: int, content: bytes = b"") -> bytes:
    """Pack an option of the handshake."""
    return OPTION.pack(OPTION_MAGIC, option, len(content)) + content


def pack_go(export: str) -> bytes:
    """Pack the content of OPTION_GO, asking for block sizes too."""
    name = export.encode()
    return struct.pack(">I", len(name)) + name + struct.pack(">HH", 1, KIND_BLOCK_SIZE)


def pack_contexts(export: str, contexts: tuple[str, ...]) -> bytes:
    """Pack the content of OPTION_SET_META_CONTEXT."""
    parts = [export.encode(), *(context.encode() for context in contexts)]
    head, *queries = [struct.pack(">I", len(part)) + part for part in parts]
    return head + struct.pack(">I", len(queries)) + b"".join(queries)


def parse_go(content: bytes) -> str:
    """Read the export's name from the content of OPTION_GO; raises NbdError."""
    name, _at = _text_at(content, 0)
    return name


def parse_contexts(content: bytes) -> tuple[str, list[str]]:
    """Read the export's name and the queries from the content of OPTION_SET_META_CONTEXT; raises NbdError."""
    name, at = _text_at(content, 0)
    if at + 4 > len(content):
        raise NbdError("a list of contexts that is cut short")
    (count,) = struct.unpack_from(">I", content, at)
    at += 4
    queries: list[str] = []
    while len(queries) < count:
        query, at = _text_at(content, at)
        queries.append(query)
    return name, queries


def _text_at(content: bytes, at: int) -> tuple[str, int]:
    """Read a text that follows its length, and return it and its end."""
    if at + 4 > len(content):
        raise NbdError("a text that is cut short")
    (length,) = struct.unpack_from(">I", content, at)
    end = at + 4 + length
    if length > LONGEST_NAME or end > len(content):
        raise NbdError("a text that is cut short or too long")
    try:
        return content[at + 4 : end].decode(), end
    except UnicodeDecodeError as error:
        raise NbdError("a text that is not UTF-8") from error


def parse_extents(content: bytes, offset: int, limit: int) -> tuple[int, list[Extent]]:
    """Parse a context's id and extents from a block status chunk, from `offset` on, cut at `limit`; raises NbdError.

    The last extent may reach beyond the requested range.
    """
    if len(content) < 4 or (len(content) - 4) % EXTENT.size:
        raise NbdError(f"a block status of {len(content)} bytes")
    (context,) = struct.unpack_from(">I", content)
    extents: list[Extent] = []
    for length, flags in EXTENT.iter_unpack(content[4:]):
        if not length or offset >= limit:
            raise NbdError("a block status that leads nowhere")
        extents.append(Extent(offset, min(length, limit - offset), flags))
        offset += length
    if not extents:
        raise NbdError("an empty block status")
    return context, extents


def joined(extents: list[Extent]) -> list[Extent]:
    """Join neighbours with the same flags."""
    result: list[Extent] = []
    for extent in extents:
        last = result[-1] if result else None
        if last is not None and last.flags == extent.flags and last.offset + last.length == extent.offset:
            result[-1] = Extent(last.offset, last.length + extent.length, last.flags)
        else:
            result.append(extent)
    return result
