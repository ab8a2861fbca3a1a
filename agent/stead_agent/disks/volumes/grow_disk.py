"""Grows a disk that no process has open, by qemu-img, which reads keys from anonymous files."""

import contextlib
from typing import Final

from stead_agent.disks import disk_users
from stead_agent.disks.disk_keys import KEY_NAME, passphrase
from stead_agent.disks.disk_options import access_to, address_space, bytes_options
from stead_agent.disks.disk_sources import BlockSource, FileSource, RbdSource
from stead_agent.disks.volumes.interface import VolumeError
from stead_agent.programs.run import Identity, Limits, RunError, run

_SECONDS: Final = 60
_CPU_SECONDS: Final = 30


def grow(volume_id: str, source: FileSource | BlockSource | RbdSource, size: int, encryption_key: bytes = b"") -> None:
    """Grow a qcow2 disk, as the user that owns it and without opening its base: a guest may have forged the header."""
    if isinstance(source, BlockSource):
        source = BlockSource(source.path.resolve())
    owner = disk_users.uid_of(volume_id) if isinstance(source, RbdSource) else source.path.stat().st_uid
    command = ["qemu-img", "resize", "-q"]
    image = f"driver=qcow2,{bytes_options(source, 'file')},backing="
    with contextlib.ExitStack() as held:
        access, handles = held.enter_context(access_to(source))
        command += access
        if encryption_key:
            secret, handle = held.enter_context(passphrase(encryption_key))
            command += secret
            handles.append(handle)
            image += f",encrypt.format=luks,encrypt.key-secret={KEY_NAME}"
        try:
            run(
                [*command, "--image-opts", image, str(size)],
                timeout=_SECONDS,
                # It reads a file that a guest that broke out could have forged.
                limits=Limits(cpu_seconds=_CPU_SECONDS, address_space=address_space(source)),
                identity=Identity(owner, owner) if owner else None,
                inherits=handles,
            )
        except RunError as error:
            raise VolumeError(f"{volume_id}: cannot be grown: {error}") from error
