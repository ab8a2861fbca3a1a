"""The saved master key of a controller that was lost, with which a new one begins: read, checked, put in its place."""

import os
import re
from pathlib import Path
from typing import Final

from stead_cli.errors import CliError
from stead_cli.settings import Settings
from stead_proto.tls import write_once

_KEY_BYTES: Final = 32
_MOST_BYTES: Final = 1 << 20
_VERSION: Final = re.compile(rb"(?:([1-9]\d{0,4})[ \t]+)?([0-9A-Fa-f]{64})(?:[ \t]+\d+)?\s*\Z")


def read(path: Path) -> bytes:
    """Return the versions in a copy of `master.key`, in its form; raises CliError, which has nothing of the content.

    When each was made is left out: the new controller must not forget the older ones, which seal what hosts keep.
    """
    content = _content(path)
    if len(content) == _KEY_BYTES:
        return content
    versions: dict[int, str] = {}
    for line in filter(bytes.strip, content.split(b"\n")):
        found = _VERSION.match(line.lstrip())
        number = int(found[1] or b"1") if found is not None else 0
        if found is None or versions.setdefault(number, found[2].decode().lower()) != found[2].decode().lower():
            raise _no_key(path)
    if not versions:
        raise _no_key(path)
    return "".join(f"{number} {versions[number]}\n" for number in sorted(versions)).encode()


def require_no_other(chosen: Settings, content: bytes) -> None:
    """Raise CliError where there is another key than this one."""
    place = _place(chosen)
    if place.exists() and place.read_bytes() != content:
        raise CliError(f"there is another master key: {place}", "move it away first, and keep it")


def put(chosen: Settings, content: bytes) -> None:
    """Write the key for a controller that is to begin, in its folder, unless there is one."""
    write_once(_place(chosen), content)


def _place(chosen: Settings) -> Path:
    return chosen.controller_dir / "master.key"


def _content(path: Path) -> bytes:
    """Read a file that only root may read, never another one that has its name by then."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != 0 or found.st_mode & 0o077:
            raise CliError(f"others than root may read {path}", f"chown root {path} && chmod 600 {path}")
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _no_key(path)
    return content


def _no_key(path: Path) -> CliError:
    return CliError(
        f"{path} is no copy of a controller's master.key", "it is in /var/lib/stead/controller of the lost one"
    )
