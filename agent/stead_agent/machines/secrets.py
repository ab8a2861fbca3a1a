"""Keys of disks, of LUKS and of Ceph, as libvirt secrets, which exist only while a disk is attached to a guest.

Libvirt passes a secret to QEMU encrypted with a key that only the two have, so it is in no argument and no file. It
holds these in memory only (`ephemeral`) and never reveals their value (`private`):
https://libvirt.org/formatsecret.html.
"""

import contextlib
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from xml.etree import ElementTree as ET

from stead_agent.disks.disk_sources import RbdSource, passphrase_of
from stead_agent.machines.interface import Disk, MachineError, Tpm

_USAGE: Final = "stead "


@dataclass(frozen=True, slots=True)
class Secret:
    """A key for libvirt."""

    uuid: str
    about: str  # what it opens; unique
    key: bytes = field(repr=False)
    kind: Literal["volume", "ceph", "vtpm"] = "volume"


@contextlib.contextmanager
def defined_for(connection: Any, disks: Iterable[Disk], tpm: Tpm | None = None) -> Iterator[None]:
    """Define the keys of these disks and a TPM in libvirt within this `with`; raises MachineError if one is missing."""
    keys = []
    if tpm:
        if not tpm.key:
            raise MachineError("the key of the TPM's state has not come")
        keys.append(Secret(tpm.secret, f"tpm {tpm.secret}", tpm.key, "vtpm"))
    for disk in disks:
        if isinstance(disk.source, RbdSource):
            about = f"{disk.source.pool}/{disk.source.image}"
            keys.append(Secret(disk.source.secret, about, b64decode(disk.source.key), "ceph"))
        if disk.secret:
            if not disk.encryption_key:
                raise MachineError(f"{disk.id} is encrypted, and its key has not come")
            keys.append(Secret(disk.secret, disk.id, disk.encryption_key))
    with lent(connection, keys):
        yield


@contextlib.contextmanager
def lent(connection: Any, keys: Iterable[Secret]) -> Iterator[None]:
    """Define some keys in libvirt within this `with`."""
    made = []
    try:
        for each in keys:
            secret = connection.secretDefineXML(render_secret(each), 0)
            made.append(secret)
            secret.setValue(each.key if each.kind == "ceph" else passphrase_of(each.key), 0)
        yield
    finally:
        for secret in made:
            secret.undefine()


def render_secret(secret: Secret) -> str:
    """Render the secret without its value."""
    element = ET.Element("secret", ephemeral="yes", private="yes")
    ET.SubElement(element, "uuid").text = secret.uuid
    usage = ET.SubElement(element, "usage", type=secret.kind)
    ET.SubElement(usage, "volume" if secret.kind == "volume" else "name").text = f"{_USAGE}{secret.about}"
    return ET.tostring(element, encoding="unicode")
