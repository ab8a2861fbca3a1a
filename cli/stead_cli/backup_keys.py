"""What seals the keys of a backup, and what opens them: a passphrase, or recipients of age and their identities."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from stead_cli.errors import CliError

_file: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
passphrase_file = click.option(
    "--passphrase-file",
    type=_file,
    help="A file whose first line is the passphrase of the keys; otherwise it is asked for.",
)
recipient = click.option(
    "--recipient",
    "recipients",
    metavar="age1…",
    multiple=True,
    help="Seal the keys for this public key of age-keygen instead of by a passphrase; may be repeated.",
)
recipients_file = click.option("--recipients-file", type=_file, help="The same from a file, one a line.")
identity_file = click.option(
    "--identity-file", type=_file, help="A file of age-keygen that opens keys sealed for recipients."
)


def sealing(function: Any) -> Any:
    """Add the options of what seals keys."""
    return passphrase_file(recipient(recipients_file(function)))


def opening(function: Any) -> Any:
    """Add the options of what opens keys."""
    return passphrase_file(identity_file(function))


@dataclass(frozen=True, slots=True)
class Given:
    """Options for the controller's program, and what it reads from its standard input: no secret is in a command."""

    options: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)


def seal(
    passphrase_file: Path | None, recipients: tuple[str, ...], recipients_file: Path | None, *, is_new: bool
) -> Given:
    """What seals the keys: recipients, where any are named, else a passphrase; raises CliError."""
    if not recipients and recipients_file is None:
        return Given(("--passphrase-file=-",), f"{_passphrase(passphrase_file, again=is_new)}\n")
    if passphrase_file is not None:
        raise CliError(
            "both a passphrase and recipients are given", "name one of them: without recipients a passphrase"
        )
    lines = [*recipients, *(recipients_file.read_text(encoding="utf-8").splitlines() if recipients_file else ())]
    named = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not named:
        raise CliError(f"no recipient is in {recipients_file}", "age-keygen -y KEY >> FILE")
    if any(not one.startswith("age1") for one in named):  # not said: it may be a secret, which is in no command either
        raise CliError(
            "what does not begin with age1 is no recipient", "the public key of an identity: age-keygen -y KEY"
        )
    return Given(tuple(f"--recipient={one}" for one in named))


def opener(passphrase_file: Path | None, identity_file: Path | None, *, is_needed: bool) -> Given:
    """What opens the keys; a passphrase is asked for only where one is needed. Raises CliError."""
    if identity_file is not None:
        require_private(identity_file)
        return Given(("--identity-file=-",), identity_file.read_text(encoding="utf-8", errors="replace"))
    if passphrase_file is None and not is_needed:
        return Given()
    return Given(("--passphrase-file=-",), f"{_passphrase(passphrase_file)}\n")


def require_private(file: Path, others: int = 0o077) -> None:
    """Raise CliError for a file that another user than root, or who asks, owns, or for which `others` have rights."""
    found = file.stat()
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & others:
        what = "read" if others & 0o044 else "write to"
        raise CliError(f"others than root may {what} {file}", f"chown root {file} && chmod 600 {file}")


def _passphrase(file: Path | None, *, again: bool = False) -> str:
    """Read the passphrase's line, or ask for it, twice if it is a new one."""
    if file is not None:
        return file.read_text(encoding="utf-8").partition("\n")[0]
    if not sys.stdin.isatty():
        raise CliError(
            "no passphrase is given",
            "write it into a file: --passphrase-file FILE; or name recipients: --recipient age1…",
        )
    asked: str = click.prompt("Passphrase of the keys", hide_input=True, confirmation_prompt=again, err=True)
    return asked
