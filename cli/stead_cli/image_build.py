"""Build the guest images of `images/`, store them with the hash of their recipe, and import them into the cloud."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stead_cli.errors import CliError
from stead_cli.operator import Operator, Progress
from stead_cli.settings import FILES, Settings
from stead_proto.v1 import operator_pb2 as pb

KINDS: Final = ("micro", "debian")
ARCHITECTURES: Final = ("x86_64", "arm64")
_CACHE: Final = Path(os.environ.get("STEAD_CACHE_DIR") or "/var/cache/stead") / "images"
_NAME_DIGITS: Final = 12
_ERROR_LINES: Final = 8
_ERROR_COLUMNS: Final = 300
_BUILD_HINT: Final = "packages come by apt: does `apt-get update` work here?"

_DESCRIPTIONS: Final = {
    "micro": "Stead micro: Debian kernel, busybox, dropbear; boots in seconds",
    "debian": "Debian 13 with cloud-init",
}


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image file and the name under which the cloud knows it."""

    kind: str
    path: Path
    sha256: str
    architecture: str = "x86_64"

    @property
    def name(self) -> str:
        """`stead-micro-` and the beginning of the content's hash: different content is a different image."""
        return f"stead-{self.kind}-{self.sha256[:_NAME_DIGITS]}"


def build(
    settings: Settings, kind: str, say: Callable[[str], None], *, again: bool = False, architecture: str = "x86_64"
) -> BuiltImage:
    """Build an image unless it was built from the same recipe before; `say` is called with each line of progress.

    The architecture is one of `ARCHITECTURES`.
    """
    settings.image_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    file_name = kind if architecture == "x86_64" else f"{kind}-{architecture}"
    path = settings.image_dir / f"{file_name}.qcow2"
    stamp = settings.image_dir / f"{file_name}.recipe"
    recipe = _recipe_hash(kind)
    if again or not path.exists() or not stamp.exists() or stamp.read_text(encoding="ascii") != recipe:
        _install_packages(kind, say)
        stamp.unlink(missing_ok=True)
        _run_build(kind, architecture, path, say)
        stamp.write_text(recipe, encoding="ascii")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BuiltImage(kind, path, digest, architecture)


def enter(operator: Operator, image: BuiltImage, progress: Progress) -> str:
    """Import the image as a public image owned by the cloud unless it is there; return its id."""
    for known in operator.list_images():
        if known.sha256 == image.sha256 and known.state == "available" and known.public:
            return known.id
    header = pb.ImportImageHeader(
        name=image.name,
        description=_DESCRIPTIONS[image.kind],
        format="qcow2",
        file_size=image.path.stat().st_size,
        architecture=image.architecture,
        boot_mode="legacy-bios" if image.architecture == "x86_64" else "uefi",
        public=True,
    )
    return operator.import_image(header, image.path, progress).image_id


def _recipe_hash(kind: str) -> str:
    """A hash over everything that determines the built image, except the versions of Debian packages."""
    digest = hashlib.sha256()
    folder = FILES / "images"
    sources = [path for path in folder.glob("*.py") if path.is_file()] + list((folder / kind).rglob("*"))
    for path in sorted(sources):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder)} {path.stat().st_mode & 0o111:o}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _install_packages(kind: str, say: Callable[[str], None]) -> None:
    """Install the Debian packages that the build names and this machine lacks."""
    command = f"from images.{kind} import build; print(*build.APT_PACKAGES)"
    names = _python(["-c", command], capture=True).split()
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *names]
    shown = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    missing = sorted(set(names) - {line.split()[1] for line in shown if line.startswith("installed ")})
    if not missing:
        return
    if os.geteuid() != 0:
        raise CliError(f"building {kind} needs {', '.join(missing)}", f"as root: apt-get install {' '.join(missing)}")
    say(f"installing Debian packages: {' '.join(missing)}")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *missing]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(
            attempt, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and attempt is install:
            return
    raise CliError(f"apt-get could not install {' '.join(missing)}: {done.stderr.strip()[-500:]}", "try it by hand")


def _run_build(kind: str, architecture: str, path: Path, say: Callable[[str], None]) -> None:
    """Run the build; its steps are passed to `say`, and its error message is raised when it fails."""
    script = FILES / "images" / kind / "build.py"
    command: list[str | Path] = [sys.executable, script, "--output", path, "--architecture", architecture]
    command += ["--cache", _CACHE, "--output-format=json"]
    error = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                event: dict[str, Any] = json.loads(line)
            except ValueError:
                error += line  # not a JSON line of the build: a warning, a traceback
                continue
            if "step" in event:
                say(f"{event['seconds']:5.1f} s  {event['step']}")
            error = event.get("error", error)
    if process.returncode != 0:
        raise CliError(f"the {kind} image could not be built: {_shortened(error)}", _BUILD_HINT)


def _shortened(error: str) -> str:
    """The beginning and the end of a long error: what failed, and the end of its output."""
    lines = [
        line if len(line) < _ERROR_COLUMNS else f"{line[:_ERROR_COLUMNS]} …" for line in error.strip().splitlines()
    ]
    return "\n".join(lines if len(lines) <= _ERROR_LINES else [lines[0], "…", *lines[-_ERROR_LINES:]])


def _python(arguments: list[str], *, capture: bool) -> str:
    """Run Python where `images` is, from which the image builds are imported."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=FILES,
        capture_output=capture,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise CliError(f"a recipe in {FILES / 'images'} cannot be read: {done.stderr.strip()[-500:]}")
    return done.stdout
