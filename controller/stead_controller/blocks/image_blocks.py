"""Reads the blocks of an image file's disk: those that are not all zero, in order, a few at a time in memory."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_controller.blocks import confinement, image_formats, served_disk
from stead_controller.blocks.bad_image import BadImageError
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK
from stead_proto.nbd.wire import NbdError

_MIB: Final = 1 << 20
# Limits for reading an image: a fixed part and one by the size of its file.
_CPU_SECONDS: Final = 30
_BYTES_PER_CPU_SECOND: Final = 8 * _MIB
_ANSWER_SECONDS: Final = 30.0
# A genuine image holds at most this many times its file's size of data that are not zero.
_MOST_GROWTH: Final = 200
_GROWTH_FREE: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Block:
    """A whole block of a disk; the last one is padded with zeroes."""

    index: int
    content: bytes


class ImageBlocks:
    """A checked image file, open to be read once."""

    def __init__(self, path: Path, image_format: str) -> None:
        """Check a file that is alone in its folder; raises BadImageError before any tool reads it."""
        self._path = path
        self._format = image_format
        self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            self.file_size = os.fstat(self._file).st_size
            self.size = image_formats.check(image_format, self._read_at, self.file_size)
        except BaseException:  # only to close the file: any exception is raised again
            os.close(self._file)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks that are not all zero, ascending; raises BadImageError when the file turns out to be bad."""
        if self._format == "raw":
            return self._raw_blocks()
        return self._served_blocks()

    def _read_at(self, offset: int, length: int) -> bytes:
        if not 0 <= offset < 1 << 62:
            return b""
        return os.pread(self._file, length, offset)

    def _raw_blocks(self) -> Iterator[Block]:
        for start, length in _parts(self._raw_extents(), self.size):
            content = os.pread(self._file, length, start)
            yield from _made(start, content)

    def _raw_extents(self) -> Iterator[tuple[int, int]]:
        at = 0
        while at < self.size:
            try:
                start = os.lseek(self._file, at, os.SEEK_DATA)
            except OSError:  # ENXIO: the rest is a hole
                return
            at = os.lseek(self._file, start, os.SEEK_HOLE)
            yield start, at

    def _served_blocks(self) -> Iterator[Block]:
        seconds = _CPU_SECONDS + self.file_size // _BYTES_PER_CPU_SECOND
        deadline = time.monotonic() + 4 * seconds
        left = _MOST_GROWTH * self.file_size + _GROWTH_FREE
        with (
            confinement.serve(self._path, self._format, seconds) as reader,
            _with_reason(reader),
            served_disk.connect(reader.socket_path, _ANSWER_SECONDS, reader.is_alive) as disk,
        ):
            if disk.size != self.size:
                raise BadImageError(f"the image holds {disk.size} bytes, not {self.size}")
            for start, content in served_disk.read(disk, _parts(served_disk.data_extents(disk), self.size)):
                for block in _made(start, content):
                    left -= BLOCK_BYTES
                    if left < 0:
                        raise BadImageError("the image holds far more data than its file can honestly have")
                    yield block
                if time.monotonic() > deadline:
                    raise BadImageError("reading the image takes more time than it may")


@contextlib.contextmanager
def _with_reason(reader: confinement.ConfinedReader) -> Iterator[None]:
    """Raise BadImageError with the reason why the reader failed."""
    try:
        yield
    except NbdError as error:
        raise BadImageError(f"the image cannot be read: {error}; {reader.failure_reason()}") from error


def _parts(extents: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Split extents, given as start and end, into whole blocks, given as offset and length, each once."""
    begun = 0
    for start, end in extents:
        first = max(begun, start // BLOCK_BYTES)
        begun = max(begun, -(-end // BLOCK_BYTES))
        for index in range(first, begun):
            offset = index * BLOCK_BYTES
            yield offset, min(BLOCK_BYTES, size - offset)


def _made(start: int, content: bytes) -> Iterator[Block]:
    whole = content if len(content) == BLOCK_BYTES else content.ljust(BLOCK_BYTES, b"\0")
    if whole != ZERO_BLOCK:
        yield Block(start // BLOCK_BYTES, whole)
