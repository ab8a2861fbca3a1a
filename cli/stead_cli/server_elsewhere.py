"""What settings of a server on another machine share: options, secrets, an authority, a folder that is left here."""

import os
import ssl
import stat
from pathlib import Path

from stead_cli.errors import CliError


def given(**options: str) -> list[str]:
    """Return the controller's options of the settings that are not empty: `block_bucket` becomes --block-bucket."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]


def read_secret(path: str, setting: str) -> str:
    """Read a file that only root may read, as the controller does; raises CliError for any other."""
    try:
        with Path(path).open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read()
    except OSError as error:
        raise CliError(f"{setting}={path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise CliError(f"others than root may read {path}", f"chmod 600 {path}")
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise CliError(f"{setting}={path} is no text in UTF-8") from error


def read_key(path: str, setting: str) -> tuple[str, str]:
    """Read id and secret of an access key; raises CliError for what the controller would refuse."""
    secret = read_secret(path, setting)
    words = secret.split() if secret.isascii() else []
    if len(words) != 2:
        raise CliError(f"{path} is no access key", "two lines: its id and its secret")
    return words[0], words[1]


def require_certificate(path: str, setting: str) -> None:
    """Raise CliError for a file that is no authority's certificate: the controller would start, and reach nothing.

    Without a path the system's authorities are meant.
    """
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise CliError(
            f"{setting}={path} is no certificate: {error.strerror or error}",
            "a file in PEM, of the authority",
        ) from error


def require_nothing_left(folder: Path, what: str, setting: str, advice: str) -> None:
    """Raise CliError where this machine has a folder with `what` of the cloud, which a server elsewhere would hide."""
    if folder.exists():
        raise CliError(f"{what} are in {folder}, and {setting} names another place", advice)
