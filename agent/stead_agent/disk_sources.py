"""How QEMU opens the bytes of a disk on this host: what volumes, bases and proxies offer and machines plug in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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


type Source = FileSource | BlockSource | NbdSource
type Format = Literal["qcow2", "raw"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A disk's bytes and the format they are in, which is always given to QEMU and never guessed."""

    source: Source
    format: Format


def passphrase_of(encryption_key: bytes) -> bytes:
    """Give a volume's key as the passphrase of its LUKS header, which QEMU wants to be text."""
    return encryption_key.hex().encode("ascii")
