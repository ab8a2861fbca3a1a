"""A qemu-nbd that exports an image on a unix socket, for as long as a test needs it."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support import waiting


@contextlib.contextmanager
def exported(image: Path, *options: str, image_format: str = "qcow2", read_only: bool = True) -> Iterator[Path]:
    """Yield the socket of a qemu-nbd that exports the image under an empty name."""
    path = image.with_suffix(".nbd")
    path.unlink(missing_ok=True)
    command: list[str | Path] = ["qemu-nbd", "-f", image_format, "-k", path, "-t", "--shared=8", *options, image]
    if read_only:
        command.insert(1, "--read-only")
    process = subprocess.Popen(command)
    try:
        waiting.wait_for(lambda: _listens(path), "qemu-nbd listens", poll=0.005)
        yield path
    finally:
        process.kill()  # it only reads; on SIGTERM it could wait for a client that is gone
        process.wait(60)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0
