"""A checkout becomes one file from which machines are installed, byte for byte the same for the same commit.

The file is a tar of one folder: our wheel, `wheels/` of all libraries, `requirements.txt` with the hash of each, and
`ansible/`. Formats: PEP 427 (wheels), https://reproducible-builds.org/specs/source-date-epoch/.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_cli import release
from stead_cli.errors import CliError

_PACKAGED: Final = ("agent", "cli", "controller", "proto", "LICENSE", "README.md", "pyproject.toml", "constraints.txt")
_SHIPPED: Final = "cli/stead_cli/shipped"  # `settings.SHIPPED`, in the checkout's folders
_BESIDE: Final = ("ansible", "LICENSE", "CHANGELOG.md")
_EXTRAS: Final = ("controller", "agent", "cli", "postgresql", "traces")
_FOR_MAKING: Final = "making"  # the folder, below the libraries' wheels, of what makes our own
_PIN: Final = re.compile(r"^(?P<name>[a-z0-9._-]+)==\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+", re.MULTILINE)
_SECONDS: Final = 1200.0


@dataclass(frozen=True, slots=True)
class Source:
    """What a release is made of: files of a checkout as they are now, and the commit that they are, or began as."""

    root: Path
    version: str
    commit: str  # with `-dirty`, if files are not as they were committed
    time: int  # of the commit, Unix seconds
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The release's name: `stead-VERSION-COMMIT`, with 12 digits of the commit."""
        commit, _, rest = self.commit.partition("-")
        return f"stead-{self.version}-{commit[:12]}{'-' if rest else ''}{rest}"


def make(root: Path, folder: Path, wheels: Path, *, allow_dirty: bool = False) -> Path:
    """Write the release of a checkout into a folder and return its path; `wheels` has the libraries, or is filled.

    Raises CliError where files are not committed, unless that is allowed.
    """
    source = read(root, allow_dirty=allow_dirty)
    folder.mkdir(parents=True, exist_ok=True)
    libraries = fill(wheels, root)
    with tempfile.TemporaryDirectory(prefix="stead-release-") as temporary:
        wheel = _wheel(source, Path(temporary), wheels / _FOR_MAKING)
        entries = {name: (root / name).read_bytes() for name in source.files if _is_in(name, _BESIDE)}
        entries |= {wheel.name: wheel.read_bytes()}
        entries |= {f"wheels/{path.name}": path.read_bytes() for path in libraries}
        entries |= {"requirements.txt": _requirements([wheel, *libraries]).encode()}
        target = folder / f"{source.name}.tar"
        new = folder / f".{target.name}.new"
        _pack(new, source, entries)
        new.replace(target)
    return target


def read(root: Path, *, allow_dirty: bool) -> Source:
    """Find out what the checkout has. Raises CliError when it is no checkout, or has changes that are not allowed."""
    commit, time = _git(root, "log", "-1", "--format=%H %ct").split()
    changes = _git(root, "status", "--porcelain").splitlines()
    if changes and not allow_dirty:
        named = ", ".join(line[3:] for line in changes[:3]) + (" …" if len(changes) > 3 else "")
        raise CliError(f"these files are not committed: {named}", "commit them, or make a release with --allow-dirty")
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    files = tuple(sorted(name for name in set(listed) if name and (root / name).is_file()))
    return Source(root, version, f"{commit}-dirty" if changes else commit, int(time), files)


def fill(wheels: Path, root: Path) -> list[Path]:
    """Return the wheels of all libraries that machines need, after they were fetched if they are of other versions.

    The index is pip's and uv's own setting. What has no wheel there, as libvirt-python, is compiled here.
    """
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    declared = (root / "pyproject.toml").read_text(encoding="utf-8")
    stamp = hashlib.sha256(f"{text}\0{declared}\0{sys.version_info[:2]}".encode()).hexdigest()
    noted = wheels / "stamp"
    if not noted.exists() or noted.read_text(encoding="ascii") != stamp:
        for old in wheels.rglob("*.whl"):
            old.unlink()
        wheels.mkdir(parents=True, exist_ok=True)
        ours = ["pyproject.toml", *(f"--extra={extra}" for extra in _EXTRAS)]
        _fetch(_pins(root, text, ours), wheels)
        making = tomllib.loads(declared)["build-system"]["requires"]
        _fetch(_pins(root, text, ["-"], "\n".join(making)), wheels / _FOR_MAKING)
        noted.write_text(stamp, encoding="ascii")
    return sorted(wheels.glob("*.whl"))


def _pins(root: Path, constraints: str, what: Sequence[str], text: str = "") -> str:
    """Return the lines of the constraints that are for these requirements and all that they need."""
    options = ["--constraint=constraints.txt", "--no-header", "--no-annotate", "--quiet"]
    trusting = {"UV_SYSTEM_CERTS": "true", **os.environ}  # what the machine trusts, as pip does by itself
    found = _run([_program("uv"), "pip", "compile", *what, *options], cwd=root, text=text, environment=trusting)
    names = {line.partition("==")[0].partition("[")[0] for line in found.splitlines() if "==" in line}
    return "".join(match[0] for match in _PIN.finditer(constraints) if match["name"] in names)


def _fetch(pins: str, folder: Path) -> None:
    """Put a wheel of each pinned library into a folder, checked by the pins' hashes."""
    with tempfile.NamedTemporaryFile("w", prefix="stead-pins-", suffix=".txt", encoding="utf-8") as file:
        file.write(pins)
        file.flush()
        options = ["--quiet", "--no-deps", "--require-hashes", f"--wheel-dir={folder}", f"--requirement={file.name}"]
        _run([sys.executable, "-m", "pip", "wheel", *options])


def _wheel(source: Source, folder: Path, making: Path) -> Path:
    """Make our wheel from copies of the files alone, so that nothing else of the checkout gets into it."""
    tree = folder / "tree"
    for name in source.files:
        if _is_in(name, _PACKAGED):
            _copy(source.root / name, tree / name)
        elif _is_in(name, ("images",)):
            _copy(source.root / name, tree / _SHIPPED / name)
    note = {"version": source.version, "commit": source.commit}
    (tree / _SHIPPED / release.NOTE).write_text(json.dumps(note) + "\n", encoding="utf-8")
    options: list[str | Path] = [
        "--wheel",
        "--quiet",
        "--offline",
        "--no-index",
        f"--find-links={making}",
        f"--out-dir={folder}",
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(source.time)}
    _run([_program("uv"), "build", *options, f"--python={sys.executable}", tree], environment=environment)
    [made] = folder.glob("*.whl")
    return made


def _is_in(name: str, places: Sequence[str]) -> bool:
    return name.split("/", 1)[0] in places


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.read_bytes())
    target.chmod(_mode(file))


def _mode(file: Path) -> int:
    return 0o755 if file.stat().st_mode & 0o100 else 0o644


def _requirements(wheels: Sequence[Path]) -> str:
    """Return the lines by which pip installs exactly these wheels."""
    lines: list[str] = []
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def _pack(target: Path, source: Source, entries: Mapping[str, bytes]) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(entries.items()):
            entry = tarfile.TarInfo(f"{source.name}/{name}")
            path = source.root / name
            entry.mode = _mode(path) if name in source.files else 0o644
            entry.size, entry.mtime = len(content), source.time
            tar.addfile(entry, io.BytesIO(content))


def _git(root: Path, *words: str) -> str:
    """Ask git about this checkout, which may be another user's, and not about a repository around it."""
    environment = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE"}}
    command: list[str | Path] = ["git", "-c", f"safe.directory={root}", "-C", root, *words]
    if not (root / ".git").exists():
        raise CliError(f"{root} has no history, so nobody could tell which commit it is", "git clone it")
    return _run(command, environment=environment)


def _program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def _run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    text: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return its stdout; raises CliError with the end of what it said when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        words = " ".join(_words(command))
        raise CliError(f"{words} failed: {done.stderr.strip()[-1500:]}")
    return done.stdout


def _words(command: Sequence[str | Path]) -> Iterator[str]:
    """The first words of a command, for an error."""
    yield Path(command[0]).name
    yield from (str(word) for word in command[1:4])
