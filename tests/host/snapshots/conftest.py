"""A fake block store, a folder that users of disks can pass through, and disks without guests."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.fake_block_store import fake, store  # noqa: F401 - fixtures


@pytest.fixture
def place():
    """A folder that processes of other users can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def qemu_io(image: Path, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, image], check=True, stdout=subprocess.DEVNULL)


def content_of(image: Path) -> bytes:
    raw = image.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    content = raw.read_bytes()
    raw.unlink()
    return content
