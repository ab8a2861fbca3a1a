"""Files sealed for recipients of age (https://age-encryption.org): `age -d -i KEY` opens them, too. Pure.

The machine that seals has no secret: an identity, whose public half a recipient is, opens what was sealed for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from stead_controller.backup.sealed_files import pack, unpack
from stead_controller.errors import SteadError

_CONTEXT: Final = "backup"
"""A file beside the others that says of which backup they are."""


class RecipientError(SteadError):
    """What should be a recipient or an identity is none, or the identity does not open the files."""


def chosen(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the recipients of these lines, each once, without empty lines and comments; raises RecipientError."""
    found = tuple(dict.fromkeys(_entries(lines)))
    _public(found)
    return found


def seal(files: Mapping[str, bytes], recipients: Sequence[str], context: str) -> bytes:
    """Seal files by their names for each of these recipients; raises RecipientError for none, or for what is none."""
    import pyrage  # noqa: PLC0415 - for who uses it

    if not recipients:
        raise RecipientError("No recipient is named.")
    sealed: bytes = pyrage.encrypt(pack({**files, _CONTEXT: context.encode()}), _public(recipients))
    return sealed


def unseal(sealed: bytes, identities: str, context: str) -> dict[str, bytes]:
    """Return the files by their names; `identities` are as age-keygen writes them. Raises RecipientError."""
    import pyrage  # noqa: PLC0415 - as above

    try:
        keys = [pyrage.x25519.Identity.from_str(line) for line in _entries(identities.splitlines())]
    except pyrage.IdentityError:
        keys = []
    if not keys:  # the reason is not said: it might quote the key
        raise RecipientError(
            "The identity file has something else than AGE-SECRET-KEY-1… lines, as age-keygen writes them."
        )
    try:
        files = unpack(pyrage.decrypt(sealed, keys))
    except pyrage.DecryptError as error:
        raise RecipientError(f"The identity does not open the keys of this backup: {error}.") from error
    if files.pop(_CONTEXT, b"").decode() != context:
        raise RecipientError("The keys are those of another backup.")
    return files


def _public(recipients: Sequence[str]) -> list[object]:
    import pyrage  # noqa: PLC0415 - as above

    keys = []
    for one in recipients:
        try:
            keys.append(pyrage.x25519.Recipient.from_str(one))
        except pyrage.RecipientError as error:
            named = one if one.startswith("age1") else "What does not begin with age1"  # it may be a secret
            raise RecipientError(f"{named} is no recipient of age: {error}.") from error
    return keys


def _entries(lines: Iterable[str]) -> Iterable[str]:
    stripped = (line.strip() for line in lines)
    return (line for line in stripped if line and not line.startswith("#"))
