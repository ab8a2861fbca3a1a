"""Image files as they come in: written to the image folder, hashed and checked while they do."""

import hashlib
import os
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from stead_controller.blocks import image_formats, qcow2_header
from stead_controller.blocks.bad_image import MOST_BYTES, BadImageError


class IncomingImage:
    """One upload: `write` its chunks, then `finish`; left without `finish`, its file is removed."""

    def __init__(self, folder: Path, image_id: str, image_format: str, file_size: int) -> None:
        """Begin an upload of `file_size` bytes in a format that is told ("qcow2" or "raw"), never guessed."""
        if image_format not in ("qcow2", "raw"):
            raise BadImageError(f"'{image_format}' is no image format: qcow2 or raw")
        if not 0 < file_size <= MOST_BYTES:
            raise BadImageError(f"an image file of {file_size} bytes")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / image_id
        self._part = folder / f"{image_id}.part"
        self._format = image_format
        self._file_size = file_size
        self._written = 0
        self._hash = hashlib.sha256()
        self._head = b""
        self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes; raises BadImageError as soon as they cannot be of an image that we take."""
        if self._format == "qcow2" and len(self._head) < qcow2_header.HEADER_BYTES:
            self._head += chunk[: qcow2_header.HEADER_BYTES]
            if len(self._head) >= qcow2_header.HEADER_BYTES:
                qcow2_header.parse(self._head)
        self._written += len(chunk)
        if self._written > self._file_size:
            raise BadImageError(f"more than the announced {self._file_size} bytes came")
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self) -> tuple[int, str]:
        """Put the file in its place durably and give the disk's size in bytes and the file's SHA-256."""
        if self._written != self._file_size:
            raise BadImageError(f"{self._written} bytes came of the announced {self._file_size}")
        self._file.flush()
        with self._part.open("rb") as whole:
            virtual_size = image_formats.check(self._format, partial(_read_at, whole.fileno()), self._file_size)
        os.fsync(self._file.fileno())
        self._part.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return virtual_size, self._hash.hexdigest()


def _read_at(file: int, offset: int, length: int) -> bytes:
    return os.pread(file, length, offset) if 0 <= offset < 1 << 62 else b""
