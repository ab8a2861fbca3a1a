"""Which release of Stead is installed: one word that identifies its code and libraries; `stead release` makes one."""

import functools
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Final

import click

from stead_cli.errors import CliError
from stead_cli.output import json_or, output_option
from stead_cli.settings import CHECKOUT, SHIPPED

VARIABLE: Final = "STEAD_RELEASE"
"""The environment variable by which a program that runs can be asked of which release it is."""

NOTE: Final = "release.json"
"""The file of what is shipped in a wheel of `stead release` that says which version and commit it is."""

_PACKAGES: Final = ("stead_agent", "stead_controller", "stead_proto")
_STAMP: Final = Path(sys.prefix) / "stead-stamp"  # written by the launcher: which libraries are installed


@functools.cache
def current() -> str:
    """Return a word that identifies the code and the libraries with which programs would be started now."""
    digest = hashlib.sha256()
    files = (path for package in _PACKAGES for path in _folder(package).rglob("*.py"))
    for path in (*sorted(files), *([_STAMP] if _STAMP.exists() else [])):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _folder(package: str) -> Path:
    """The folder of one of our packages, in a checkout or installed."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise CliError(f"{package} is not installed")
    return Path(next(iter(found.submodule_search_locations)))


def installed_version() -> str | None:
    """Return version and commit of what `stead release` made; None in a checkout, where the launcher knows them."""
    try:
        noted = json.loads((SHIPPED / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return f"stead {noted['version']} (commit {noted['commit']})"


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=CHECKOUT / "build",
    help="Folder of the release; default: build/ of the checkout.",
)
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the libraries' wheels, filled when others are needed; default: wheels/ of that folder.",
)
@click.option("--allow-dirty", is_flag=True, help="Also of files that are not committed; its name says so.")
@output_option
def release(folder: Path, wheels: Path | None, *, allow_dirty: bool, output: str) -> None:
    """Make one file of this checkout from which machines are installed: ansible/README.md.

    It has Stead, all libraries that it needs on Debian 13, their hashes, and the playbooks. Machines need neither this
    checkout nor an index of packages nor a compiler. The same commit and the same wheels give the same bytes.
    """
    from stead_cli import release_file  # noqa: PLC0415 - only this command needs it

    if installed_version() is not None:
        raise CliError("a release is made of a checkout, and this is none", "git clone it, then: ./stead release")
    made = release_file.make(CHECKOUT, folder, wheels or folder / "wheels", allow_dirty=allow_dirty)
    json_or(output, {"file": str(made)}, lambda: click.echo(made))
