"""Encrypted disks: qcow2 with LUKS, made and grown by qemu-img, which reads the key from a file that has no name.

The passphrase is 64 hexadecimal digits of a random key: to stretch it would only cost time at each start, so LUKS is
told to take as little of that as it can.
"""

import os
from pathlib import Path
from typing import Final

from stead_agent.disk_keys import KEY_NAME, passphrase
from stead_agent.run import Identity, Limits, RunError, run
from stead_agent.volumes.interface import VolumeError

_SECONDS: Final = 60
_LIMITS: Final = Limits(cpu_seconds=30, address_space=1 << 30)
_STRETCHING: Final = "encrypt.iter-time=1"  # milliseconds


def make(path: Path, *, size: int, base: Path | None, encryption_key: bytes) -> None:
    """Write an empty encrypted disk at a path: a new file, or a block device that reads as zeroes."""
    below = ["-u", "-b", str(base), "-F", "raw"] if base else []
    options = f"encrypt.format=luks,encrypt.key-secret={KEY_NAME},{_STRETCHING}"
    with passphrase(encryption_key) as (secret, handle):
        _qemu_img(["create", "-q", "-f", "qcow2", *secret, "-o", options, *below, str(path), str(size)], handle)
    written = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(written)
    finally:
        os.close(written)


def grow(image_opts: str, *, size: int, encryption_key: bytes, identity: Identity | None) -> None:
    """Grow a disk that no process has open, as the user that it belongs to."""
    with passphrase(encryption_key) as (secret, handle):
        encrypted = f"{image_opts},encrypt.format=luks,encrypt.key-secret={KEY_NAME}"
        _qemu_img(["resize", "-q", *secret, "--image-opts", encrypted, str(size)], handle, identity)


def _qemu_img(arguments: list[str], handle: int, identity: Identity | None = None) -> None:
    try:
        run(["qemu-img", *arguments], timeout=_SECONDS, limits=_LIMITS, identity=identity, inherits=[handle])
    except RunError as error:
        raise VolumeError(str(error)) from error
