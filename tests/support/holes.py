"""Reads files without their holes: of disks of guests and images there is little else."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path


def parts_of(path: Path) -> Iterator[bytes]:
    """What a file holds between its holes, one part after the other; see lseek(2)."""
    end = 0
    with path.open("rb") as file:
        while True:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # there is a hole up to its end
                    raise
                return
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            yield os.pread(file.fileno(), end - begin, begin)
