"""The keys of a backup, its only secret: sealed by a passphrase or for recipients, and opened again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from stead_controller.backup import recipients, sealed_files
from stead_controller.backup.repository import KEYS, KEYS_FOR_RECIPIENTS, BackupError, Manifest, Repository

SHORTEST_PASSPHRASE: Final = 8


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What all backups of a repository share that are not for recipients."""

    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Recipients:
    """For whom a backup's keys are sealed; each backup may have others."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identities:
    """What opens the keys for recipients: the text of a file of age-keygen."""

    text: str = field(repr=False)


type Seal = Passphrase | Recipients
type Opener = Passphrase | Identities


def require_usable(seal: Seal) -> None:
    """Raise BackupError or RecipientError for what could seal nothing, or not well."""
    if isinstance(seal, Recipients):
        recipients.seal({}, seal.names, "")
    elif len(seal.text) < SHORTEST_PASSPHRASE:
        raise BackupError(f"The passphrase needs {SHORTEST_PASSPHRASE} characters.")


def sealed(files: Mapping[str, bytes], seal: Seal, backup: str) -> tuple[str, bytes]:
    """Seal the keys of a backup; return the name of their file and its bytes."""
    if isinstance(seal, Recipients):
        return KEYS_FOR_RECIPIENTS, recipients.seal(files, seal.names, backup)
    return KEYS, sealed_files.seal(files, seal.text, backup)


def file_of(manifest: Manifest) -> str:
    """The name of the file of a backup that has its keys."""
    return KEYS_FOR_RECIPIENTS if manifest.recipients else KEYS


def opened(repository: Repository, manifest: Manifest, opener: Opener) -> dict[str, bytes]:
    """Return the keys of a backup by their names; raises BackupError, WrongPassphraseError, RecipientError, OSError."""
    content = repository.read(manifest.id, file_of(manifest))
    if manifest.recipients:
        if isinstance(opener, Passphrase):
            named = ", ".join(manifest.recipients)
            raise BackupError(f"The keys of {manifest.id} are sealed for {named}: name the file of an identity.")
        return recipients.unseal(content, opener.text, manifest.id)
    if isinstance(opener, Identities):
        raise BackupError(f"The keys of {manifest.id} are sealed by a passphrase, and for no recipient.")
    return sealed_files.unseal(content, opener.text, manifest.id)
