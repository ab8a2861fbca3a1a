"""How QEMU opens the bytes of a disk on this host: volumes, bases and proxies provide sources, machines attach them."""

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

_SECRETS: Final = uuid.UUID("0f6f0c1a-5a35-5d6e-8a0e-2b7d7c1f9d44")


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file."""

    path: Path


@dataclass(frozen=True, slots=True)
class BlockSource:
    """A block device, such as a logical volume."""

    path: Path


@dataclass(frozen=True, slots=True)
class NbdSource:
    """An export that a process of this host serves by NBD on a unix socket."""

    socket: Path
    export: str = ""


@dataclass(frozen=True, slots=True)
class RbdSource:
    """An image of a pool of a Ceph cluster, which QEMU opens by librbd."""

    pool: str
    image: str
    conf: Path  # the cluster's settings, world-readable: there is no key in it
    user: str  # of cephx, without `client.`
    key: str = field(default="", repr=False, compare=False)  # that user's, base64

    @property
    def secret(self) -> str:
        """Return the UUID of libvirt's secret for the key: one per image, so that no two starting guests share it."""
        return str(uuid.uuid5(_SECRETS, f"{self.pool}/{self.image}"))


type Source = FileSource | BlockSource | NbdSource | RbdSource
type Format = Literal["qcow2", "raw"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A disk's bytes and their format, which is always given to QEMU and never probed."""

    source: Source
    format: Format


def secret_uuid(volume_id: str) -> str:
    """Return the UUID of libvirt's secret for a volume's key; it exists only while a guest is given the volume."""
    return str(uuid.uuid5(_SECRETS, volume_id))


def passphrase_of(encryption_key: bytes) -> bytes:
    """Return a volume's key as the passphrase of its LUKS header, which QEMU requires to be text."""
    return encryption_key.hex().encode("ascii")
