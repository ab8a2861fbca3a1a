"""Releases that are installed beside each other, and the link that says which one runs: as `ansible/` lays them out.

Each is the folder that its file has, with an environment of its own in `.venv`; one without a stamp is not whole.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_cli.checkout import Version
from stead_cli.errors import CliError
from stead_cli.steps import Steps

_LINK: Final = "current"
_NEEDS: Final = "requirements.txt"
_STAMP: Final = ".venv/stead-stamp"  # `release.current` reads it
_PROGRAMS: Final = ".venv/bin"
_PYTHON: Final = "/usr/bin/python3"
_LOADS: Final = "import stead_cli.__main__, stead_agent.real_host, stead_controller.__main__ as it; it.load()"
_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Installed:
    """The folder of releases, such as /opt/stead."""

    root: Path
    steps: Steps

    @classmethod
    def here(cls, steps: Steps) -> "Installed":
        """Return the folder that this program is of; raises CliError where no link leads to it."""
        folder = Path(sys.prefix).resolve().parent
        made = cls(folder.parent, steps)
        if made.used != folder:
            raise CliError(
                f"{folder} is not what {made.root / _LINK} leads to, so it cannot be replaced by that",
                "install releases as docs/operate/backup-and-upgrade.md says",
            )
        return made

    @property
    def used(self) -> Path:
        """The folder of the release that is used."""
        return (self.root / _LINK).resolve()

    @property
    def launcher(self) -> Path:
        """What starts the programs of the release that is used."""
        return self.root / _LINK / _PROGRAMS / "stead"

    def programs_of(self, name: str) -> Path:
        """The folder of a release's programs."""
        return self.root / name / _PROGRAMS

    def present(self) -> Version:
        """Return the release that is used."""
        return Version(self.used.name)

    def require_clean(self) -> None:
        """Take what is installed as it is."""

    def find(self, name: str) -> Version:
        """Install a release from its file beside the others, unless it is there; raises CliError."""
        if not name:
            raise CliError("no release is named", "its file, which `stead release` makes: stead upgrade FILE")
        file = Path(name)
        try:
            with tarfile.open(file) as tar:
                found = self._check(file, tar)
                if not (self.root / found.name / _STAMP).exists():
                    self._install(tar, self.root / found.name)
        except (OSError, EOFError, tarfile.TarError) as error:
            raise CliError(f"{file} cannot be installed: {error}", "is it what `stead release` made?") from error
        return found

    def former(self) -> Version | None:
        """Return the older release that was left beside the one that is used, if it is one."""
        made = {folder.name: _made(folder) for folder in self.root.glob("stead-*") if (folder / _STAMP).exists()}
        older = [name for name, time in made.items() if time < _made(self.used)]
        return Version(older[0]) if len(older) == 1 else None

    def move(self, name: str) -> None:
        """Have the link lead to another release; raises CliError where that is not there."""
        if not (self.root / name / _STAMP).exists():
            raise CliError(f"{self.root / name} is not there, or not whole", "install it anew: stead upgrade FILE")
        new = self.root / f".{_LINK}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(self.root / name)
        new.replace(self.root / _LINK)

    def settle(self, version: Version, *, moves: bool = True) -> None:
        """Nothing more is to be done: what runs is what the link says."""

    def forget_others(self, *names: str) -> None:
        """Remove all releases but these."""
        for folder in self.root.glob("stead-*"):
            if folder.is_dir() and folder.name not in names:
                shutil.rmtree(folder)

    def _check(self, file: Path, tar: tarfile.TarFile) -> Version:
        """Return what a file has; raises CliError where it is no release, or an older one than what is used."""
        entries = tar.getmembers()
        [name, *others] = sorted({entry.name.partition("/")[0] for entry in entries}) or [""]
        made = {entry.name: entry.mtime for entry in entries}.get(f"{name}/{_NEEDS}")
        if others or made is None or not name.startswith("stead-") or not all(entry.isfile() for entry in entries):
            raise CliError(f"{file} is no release of Stead", "what `stead release` makes: stead-VERSION-COMMIT.tar")
        if made < _made(self.used):
            raise CliError(f"{name} is older than {self.used.name}", "to what ran before: stead upgrade --back")
        return Version(name)

    def _install(self, tar: tarfile.TarFile, folder: Path) -> None:
        """Unpack a release and make its environment; what fails is removed again."""
        try:
            with self.steps.step(f"{folder.name} is unpacked"):
                tar.extractall(self.root, filter="data")
            with self.steps.step("its libraries are installed"):
                _run([_PYTHON, "-m", "venv", ".venv"], folder)
                _run(
                    [
                        ".venv/bin/pip", "--isolated", "install", "--quiet", "--no-index", "--find-links=.",
                        "--find-links=wheels", "--no-compile", "--require-hashes", f"--requirement={_NEEDS}",
                    ],
                    folder,
                )  # fmt: skip
                _run([".venv/bin/python", "-c", _LOADS], folder)  # compiled now: systemd lets the controller only read
                shutil.copyfile(folder / _NEEDS, folder / _STAMP)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def lasting(program: Path) -> Path:
    """Return the path by which a program of ours is found after an upgrade, too."""
    folder = program.parent.parent.parent
    through = folder.with_name(_LINK)
    return (
        through / _PROGRAMS / program.name
        if through.is_symlink() and through.resolve() == folder.resolve()
        else program
    )


def _made(folder: Path) -> int:
    """When the commit of an unpacked release was made, Unix seconds."""
    return int((folder / _NEEDS).stat().st_mtime)


def _run(words: list[str], folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise CliError(f"{words[0]} in {folder}: {done.stderr.strip()[-1500:]}", "what runs here was not changed")
