"""The data that the metadata process serves, as files, so that the next process serves the same: a folder per VPC.

In it are `namespace`, with the path of the VPC's network namespace, and a JSON file for each guest. Files are written
atomically; one that cannot be read is skipped, since the agent sends all data again when it starts. User data is
secret: only root may read here.
"""

import base64
import dataclasses
import json
import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stead_agent.metadata.interface import (
    Guest,
    GuestInterface,
    Identity,
    MaintenanceEvent,
    MetadataError,
    Options,
    PublicAddress,
    PublicKey,
    Role,
    SessionKeys,
)

log = logging.getLogger(__name__)

_NAMESPACE: Final = "namespace"
_ID: Final = re.compile(r"[a-z]+-[0-9a-z]+")


@dataclass(frozen=True, slots=True)
class StoredVpc:
    """The stored data of one VPC."""

    vpc_id: str
    namespace: Path | None  # None: not served
    guests: tuple[Guest, ...]


class Files:
    """The folder of all VPCs; methods must not be called for one VPC by several threads at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def are_empty(self) -> bool:
        """Tell whether no VPC is stored."""
        return not self._folder.is_dir() or not any(self._folder.iterdir())

    def read(self) -> Iterator[StoredVpc]:
        """Read the stored data of each VPC."""
        folders = sorted(path for path in self._folder.iterdir() if path.is_dir()) if self._folder.is_dir() else []
        for folder in folders:
            namespace = folder / _NAMESPACE
            path = Path(namespace.read_text(encoding="utf-8")) if namespace.exists() else None
            yield StoredVpc(folder.name, path, tuple(_read_guests(folder)))

    def write_namespace(self, vpc_id: str, namespace: Path) -> None:
        """Store that a VPC is served in this namespace."""
        _write(self._of(vpc_id) / _NAMESPACE, str(namespace))

    def write_guest(self, vpc_id: str, guest: Guest) -> None:
        """Store a guest of a VPC."""
        _write(self._of(vpc_id) / f"{_checked(guest.instance_id)}.json", json.dumps(to_json(guest)))

    def remove_guest(self, vpc_id: str, instance_id: str) -> None:
        """Delete a guest."""
        folder = self._of(vpc_id)
        (folder / f"{_checked(instance_id)}.json").unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def remove_vpc(self, vpc_id: str) -> None:
        """Delete a VPC and all its guests."""
        if (folder := self._of(vpc_id)).exists():
            shutil.rmtree(folder)

    def _of(self, vpc_id: str) -> Path:
        return self._folder / _checked(vpc_id)


def to_json(guest: Guest) -> dict[str, Any]:
    """Convert a guest into JSON types: bytes become base64."""
    fields = dataclasses.asdict(guest)
    if guest.user_data is not None:
        fields["user_data"] = base64.b64encode(guest.user_data).decode("ascii")
    return fields


def from_json(fields: dict[str, Any]) -> Guest:
    """Convert it back; raises TypeError, KeyError or ValueError for anything that `to_json` does not produce."""
    user_data, identity = fields["user_data"], fields.get("identity")
    role, identity_role = fields.get("role"), fields.get("identity_role")
    return Guest(
        **{
            **fields,
            "interfaces": tuple(_interface(each) for each in fields["interfaces"]),
            "user_data": None if user_data is None else base64.b64decode(user_data, validate=True),
            "public_keys": tuple(PublicKey(**each) for each in fields["public_keys"]),
            "security_groups": tuple(fields["security_groups"]),
            "ebs_device_names": tuple(fields["ebs_device_names"]),
            "ephemeral_device_names": tuple(fields["ephemeral_device_names"]),
            "events": tuple(MaintenanceEvent(**each) for each in fields.get("events", ())),
            "options": Options(**fields["options"]),
            "identity": None if identity is None else Identity(**identity),
            "role": None if role is None else _role(role),
            "identity_role": None if identity_role is None else _role(identity_role),
        }
    )


def _role(fields: dict[str, Any]) -> Role:
    """Convert a role back."""
    keys = fields.get("without_token")
    return Role(**{**fields, "without_token": None if keys is None else SessionKeys(**keys)})


def _interface(fields: dict[str, Any]) -> GuestInterface:
    """Convert an interface back."""
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    lists["public_addresses"] = tuple(PublicAddress(**each) for each in fields["public_addresses"])
    return GuestInterface(**{**fields, **lists})


def _read_guests(folder: Path) -> Iterator[Guest]:
    for path in sorted(folder.glob("*.json")):
        try:
            yield from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as failure:
            log.warning("metadata_file_unread", extra={"path": str(path), "error": str(failure)})


def _checked(name: str) -> str:
    """Refuse a name that would lead out of the folder."""
    if not _ID.fullmatch(name):
        raise MetadataError(f"{name!r} is no id")
    return name


def _write(path: Path, text: str) -> None:
    """Replace a file atomically; a crash leaves the old one, and a temporary one that is never read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)
