"""Encrypted disks are grown by qemu-img, which reads the key from a file that has no name."""

from typing import Final

from stead_agent.disk_keys import KEY_NAME, passphrase
from stead_agent.run import Identity, Limits, RunError, run
from stead_agent.volumes.interface import VolumeError

_SECONDS: Final = 60
_LIMITS: Final = Limits(cpu_seconds=30, address_space=1 << 30)


def grow(image_opts: str, *, size: int, encryption_key: bytes, identity: Identity | None) -> None:
    """Grow a disk that no process has open, as the user that it belongs to."""
    with passphrase(encryption_key) as (secret, handle):
        image = f"{image_opts},encrypt.format=luks,encrypt.key-secret={KEY_NAME}"
        command = ["qemu-img", "resize", "-q", *secret, "--image-opts", image, str(size)]
        try:
            run(command, timeout=_SECONDS, limits=_LIMITS, identity=identity, inherits=[handle])
        except RunError as error:
            raise VolumeError(str(error)) from error
