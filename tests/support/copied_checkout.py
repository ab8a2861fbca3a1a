"""A copy of this checkout in a repository of its own, whose programs run from there with the libraries of this one."""

import subprocess
import sysconfig
from pathlib import Path

from tests.support.processes import BIN, ROOT, clean_environment

_PROGRAMS = ("stead", "stead-agent", "stead-controller")
_PACKAGES = ("agent", "cli", "controller", "proto")


def make(folder: Path) -> Path:
    """Copy what git knows of, as it is now, into a folder, and commit it to the branch `main`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(source.read_bytes())
            (folder / name).chmod(source.stat().st_mode & 0o777)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "as it is")
    _make_environment(folder)
    return folder


def commit(folder: Path, message: str) -> str:
    """Commit all files and return the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *words: str) -> str:
    """Run git and return what it prints."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "core.hooksPath=/dev/null")
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def run(folder: Path, program: str, *words: str) -> str:
    """Run one of the copy's programs and return what it prints."""
    command: list[str | Path] = [folder / ".venv/bin" / program, *words]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _make_environment(folder: Path) -> None:
    """Make what the launcher would install, so that it finds its work done."""
    environment = folder / ".venv"
    subprocess.run([BIN / "python", "-m", "venv", "--without-pip", environment], check=True)
    paths = [*(str(folder / name) for name in _PACKAGES), sysconfig.get_path("purelib")]
    (environment / f"lib/python{sysconfig.get_python_version()}/site-packages/stead.pth").write_text("\n".join(paths))
    for name in _PROGRAMS:
        text = (BIN / name).read_text(encoding="utf-8")
        program = environment / "bin" / name
        # As installers write it where the path has spaces, or is long.
        first = f"#!/bin/sh\n'''exec' '{environment}/bin/python' \"$0\" \"$@\"\n' '''\n"
        program.write_text(first + text[text.index("import sys") :], encoding="utf-8")
        program.chmod(0o755)
    checked = subprocess.run(
        ["sha256sum"], input=(folder / "pyproject.toml").read_bytes() + (folder / "constraints.txt").read_bytes(),
        capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    (environment / "stead-stamp").write_text(f"extras=controller,agent,cli root={folder}\n{checked}", encoding="utf-8")
