"""Debian package names become files of their contents: ask apt, keep each .deb by version, read it as a tar stream.

Only ``apt-cache`` and ``apt-get download`` are used, so the machine's own sources, keys and pins decide what comes and
apt checks every signature. A cache that holds a package is enough: apt's lists and the network may then be missing.
For another architecture apt gets a folder of its own for lists, so nothing of the machine's own changes.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURE = "amd64"
"""Debian's name of the architecture that images have unless another is asked for."""
LISTS_LAST = 24 * 3600
"""Seconds after which the lists of another architecture are fetched again."""
DEFAULT_CACHE = Path("/var/cache/stead/images")


class ImageBuildError(Exception):
    """An image cannot be built; the message says what is missing and what the reader can do."""


@dataclass(frozen=True)
class Candidate:
    """The version of one package that apt would install here; ``sha256`` is empty when apt states none."""

    name: str
    version: str
    architecture: str
    sha256: str
    depends: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """The name that ``apt-get download`` gives the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def require_tools(tools: Mapping[str, str]) -> None:
    """Raise ImageBuildError naming the apt packages to install unless each program or file of ``tools`` is here.

    ``tools`` maps a program name, or the absolute path of a file, to the Debian package that has it.
    """
    missing = sorted({package for tool, package in tools.items() if not _is_here(tool)})
    if missing:
        packages = " ".join(missing)
        raise ImageBuildError(f"programs are missing on this machine. Run: apt-get install {packages}")


def _is_here(tool: str) -> bool:
    """A tool is a file when its name is absolute (a ``*`` may stand in it), else a program on the usual path."""
    if tool.startswith("/"):
        return any(Path("/").glob(tool.lstrip("/")))
    return shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None


def run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed; raise ImageBuildError with its words when it fails."""
    done = subprocess.run(list(command), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise ImageBuildError(f"{' '.join(command)}\n  ended with status {done.returncode}: {words}")
    return done.stdout


class PackageCache:
    """A folder of .deb files, one per package, version and architecture; several builds may share it at a time."""

    def __init__(self, folder: Path, architecture: str = ARCHITECTURE) -> None:
        """Use ``folder``, made if absent, for packages of Debian's ``architecture``."""
        self.folder = folder
        self.architecture = architecture
        folder.mkdir(parents=True, exist_ok=True)
        self._apt = None if architecture == ARCHITECTURE else ForeignApt(folder / f"apt-{architecture}", architecture)
        self._environment = self._apt.environment() if self._apt else None

    def fetch(self, names: Sequence[str]) -> dict[str, Path]:
        """Return the .deb of each name at apt's candidate version, downloading those not cached.

        Where apt's lists know nothing of a name (never updated, or offline), the newest cached version is taken.
        """
        candidates = self.find_candidates(names)
        found: dict[str, Path] = {}
        wanted: list[Candidate] = []
        for name in names:
            candidate = candidates.get(name)
            if candidate is None:
                found[name] = self._newest_cached(name)
            elif (path := self.folder / candidate.file_name).exists():
                found[name] = path
            else:
                wanted.append(candidate)
        if wanted:
            found.update(self._download_or_fall_back(wanted))
        return found

    def find_candidates(self, names: Sequence[str]) -> dict[str, Candidate]:
        """Ask apt for the candidate version of each name; names apt does not know are left out."""
        if self._apt:
            self._apt.update()
        return find_candidates(names, self._environment)

    def cached(self, name: str) -> list[Path]:
        """List the files here of all versions of a package, in whose name ``*`` may stand."""
        files = {path for suffix in (self.architecture, "all") for path in self.folder.glob(f"{name}_*_{suffix}.deb")}
        return sorted(files)

    def _download_or_fall_back(self, wanted: Sequence[Candidate]) -> dict[str, Path]:
        """Download, or take older cached versions when the network fails and every one of them is there."""
        try:
            return self._download(wanted)
        except ImageBuildError as failure:
            try:
                return {candidate.name: self._newest_cached(candidate.name) for candidate in wanted}
            except ImageBuildError:
                raise failure from None

    def _newest_cached(self, name: str) -> Path:
        """The cached file of the highest version by dpkg's order."""
        best: Path | None = None
        for path in self.cached(name):
            if best is None or is_newer(_version_of(path), _version_of(best)):
                best = path
        if best is None:
            raise ImageBuildError(f"apt does not know {name} and {self.folder} has no copy: run apt-get update")
        return best

    def _download(self, wanted: Sequence[Candidate]) -> dict[str, Path]:
        """Download into a folder inside, check the hashes, then move: a killed build leaves no half file."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="download-") as scratch:
            run(
                ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root"]
                + [f"{candidate.name}={candidate.version}" for candidate in wanted],
                cwd=Path(scratch),
                env=self._environment,
            )
            found: dict[str, Path] = {}
            for candidate in wanted:
                path = Path(scratch) / candidate.file_name
                if not path.exists():
                    raise ImageBuildError(f"apt-get download made no file {candidate.file_name}")
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                if candidate.sha256 and digest != candidate.sha256:
                    raise ImageBuildError(f"{candidate.file_name} has sha256 {digest}, apt states {candidate.sha256}")
                found[candidate.name] = path.rename(self.folder / candidate.file_name)
        return found


class ForeignApt:
    """Apt's lists of another architecture, from the machine's own sources, in a folder that only builds use."""

    def __init__(self, folder: Path, architecture: str) -> None:
        """Use ``folder``, made by the first update."""
        self._folder = folder
        self._architecture = architecture

    def environment(self) -> dict[str, str]:
        """Return the environment in which apt's programs are about that architecture alone."""
        return {**os.environ, "APT_CONFIG": str(self._folder / "apt.conf")}

    def update(self) -> None:
        """Fetch the lists unless they are of today; without the network those of earlier stay, or none."""
        done = self._folder / "updated"
        if done.exists() and time.time() - done.stat().st_mtime < LISTS_LAST:
            return
        for folder in ("lists/partial", "cache/archives/partial"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        (self._folder / "apt.conf").write_text(
            f'APT::Architecture "{self._architecture}";\nAPT::Architectures {{ "{self._architecture}"; }};\n'
            f'Dir::State::lists "{self._folder}/lists";\nDir::State::status "/dev/null";\n'
            f'Dir::Cache "{self._folder}/cache";\nAPT::Sandbox::User "root";\n'
        )
        fetched = subprocess.run(
            ["apt-get", "update", "-qq", "--error-on=any"], env=self.environment(), capture_output=True, check=False
        )
        if fetched.returncode == 0:
            done.touch()


def find_candidates(names: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Candidate]:
    """Ask apt for the candidate version of each name, without the network; names apt does not know are left out."""
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", *names],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return {candidate.name: candidate for candidate in parse_candidates(shown.stdout) if candidate.name in names}


def parse_candidates(shown: str) -> list[Candidate]:
    """Turn the text of ``apt-cache show`` into candidates."""
    candidates: list[Candidate] = []
    for paragraph in re.split(r"\n\s*\n", shown):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", paragraph, re.MULTILINE))
        if "Package" in fields and "Version" in fields:
            depends = tuple(part.split()[0] for part in fields.get("Depends", "").split(",") if part.strip())
            candidates.append(
                Candidate(
                    name=fields["Package"],
                    version=fields["Version"],
                    architecture=fields.get("Architecture", ARCHITECTURE),
                    sha256=fields.get("SHA256", ""),
                    depends=depends,
                )
            )
    return candidates


def is_newer(left: str, right: str) -> bool:
    """True when Debian version ``left`` sorts after ``right``."""
    return subprocess.run(["dpkg", "--compare-versions", left, "gt", right], check=False).returncode == 0


def _version_of(path: Path) -> str:
    """The version in the name of a cached file."""
    return path.name.split("_")[1].replace("%3a", ":")


@contextmanager
def open_package(deb: Path) -> Iterator[tarfile.TarFile]:
    """Give the contents of a .deb as a tar stream, to be read once from its beginning."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as stream:
            yield stream
        while process.stdout.read(1 << 20):  # an unread rest would end dpkg-deb by SIGPIPE
            pass
    if process.returncode != 0:
        raise ImageBuildError(f"dpkg-deb cannot read {deb}: delete it and build again")


def read_members(deb: Path, choose: Callable[[str], bool]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield each member whose path (``usr/bin/x``, no leading dot) is chosen, with its bytes (none if not a file)."""
    with open_package(deb) as stream:
        for member in stream:
            member.name = member.name.removeprefix("./")
            if choose(member.name):
                content = stream.extractfile(member) if member.isreg() else None
                yield member, content.read() if content is not None else b""
