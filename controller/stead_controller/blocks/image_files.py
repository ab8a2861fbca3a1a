"""Receives image files: each is written to a folder of its own, and hashed and checked meanwhile."""

import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from stead_controller.blocks import image_formats, qcow2_header
from stead_controller.blocks.bad_image import MOST_BYTES, BadImageError
from stead_controller.blocks.image_blocks import ImageBlocks


class IncomingImage:
    """One upload: `write` its chunks, then `finish`; if the context is left before that, its folder is removed.

    The folder holds this one file, `image`, and is all that the program that reads it may access.
    """

    def __init__(self, folder: Path, image_format: str, file_size: int) -> None:
        """Begin an upload of `file_size` bytes in a format that is given, never guessed, to a new folder."""
        if image_format not in image_formats.FORMATS:
            raise BadImageError(f"'{image_format}' is no image format: {', '.join(image_formats.FORMATS)}")
        if not 0 < file_size <= MOST_BYTES:
            raise BadImageError(f"an image file of {file_size} bytes")
        folder.mkdir(mode=0o700, parents=True)
        self.path = folder / "image"
        self._format = image_format
        self._file_size = file_size
        self._written = 0
        self._hash = hashlib.sha256()
        self._head = b""
        self._finished = False
        self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()  # which flushes the rest, and fails on a full disk
        finally:
            if not self._finished:
                shutil.rmtree(self.path.parent)

    def write(self, chunk: bytes) -> None:
        """Write the next bytes; raises BadImageError as soon as they cannot be part of an acceptable image."""
        if self._format == "qcow2" and len(self._head) < qcow2_header.HEADER_BYTES:
            self._head += chunk[: qcow2_header.HEADER_BYTES]
            if len(self._head) >= qcow2_header.HEADER_BYTES:
                qcow2_header.parse(self._head)
        self._written += len(chunk)
        if self._written > self._file_size:
            raise BadImageError(f"more than the announced {self._file_size} bytes came")
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self) -> tuple[str, int]:
        """Check the whole file, make it durable, and return its SHA-256 in hex and the disk's size in bytes.

        Raises BadImageError.
        """
        if self._written != self._file_size:
            raise BadImageError(f"{self._written} bytes came of the announced {self._file_size}")
        self._file.flush()
        image = ImageBlocks(self.path, self._format)
        image.close()
        os.fsync(self._file.fileno())
        for folder in (self.path.parent, self.path.parent.parent):
            _sync(folder)
        self._finished = True
        return self._hash.hexdigest(), image.size


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
