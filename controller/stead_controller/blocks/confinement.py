"""The controller's only door to other programs: qemu-nbd, which reads image files that may be forged, with no rights.

It runs as a user that nobody is, in a network namespace without links, with limits of time and memory and none of it
may write a file; its folder holds the one file that it reads. The format is given, and whatever lies below the file is
not opened even if the checks before (`image_formats.py`) had let it pass.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stead_controller.blocks.bad_image import BadImageError

# Ids that no user has: above those that systemd gives to containers (1,879,048,191), below what setuid refuses.
_FIRST_ID: Final = 2_000_000_000
_IDS: Final = 1_000
_ADDRESS_SPACE: Final = 1 << 30
_START_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.003
_STDERR_TAIL: Final = 500
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_SOCKET: Final = "socket"
_DRIVERS: Final = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx"}

_turns = itertools.count()


class ConfinedReader:
    """A running qemu-nbd that serves one image file at `socket_path`, as the process `process_id`."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket_path: str) -> None:
        """Take the parts."""
        self._process = process
        self.process_id = process.pid
        self.socket_path = socket_path

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        return self._process.poll() is None

    def why_ended(self) -> str:
        """Say why it has ended before its work was done."""
        try:
            status = self._process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            return "the reader does not answer"
        assert self._process.stderr
        told = self._process.stderr.read(_STDERR_TAIL).decode(errors="replace").strip()
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return "reading the image takes more time than it may"
        return told.removeprefix("qemu-nbd: ") or f"the reader ended with status {status}"


@contextlib.contextmanager
def serve(image: Path, image_format: str, cpu_seconds: int) -> Iterator[ConfinedReader]:
    """Serve an image file, alone in its folder, read-only by NBD while the block lasts; raises BadImageError.

    By its group the reader may read the file, and make its socket in the folder; nothing is the reader's own.
    """
    folder = image.parent
    identity = _identity()
    if identity is not None:
        for path, mode in ((image, 0o640), (folder, 0o770)):
            os.chown(path, 0, identity, follow_symlinks=False)
            path.chmod(mode)
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    process = _start(folder, _command(image.name, image_format, cpu_seconds, identity))
    try:
        # A path of its own would be too long for a socket's address.
        reader = ConfinedReader(process, f"/proc/self/fd/{handle}/{_SOCKET}")
        _wait(reader, process)
        yield reader
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        os.close(handle)


def _identity() -> int | None:
    """Choose whom the reader runs as; None where we are nobody special ourselves."""
    return _FIRST_ID + next(_turns) % _IDS if os.geteuid() == 0 else None


def _command(name: str, image_format: str, cpu_seconds: int, identity: int | None) -> list[str]:
    """Write the command line: whoever gives up rights by programs of their own needs no fork of all our memory."""
    node: dict[str, Any] = {
        "driver": _DRIVERS[image_format],
        "read-only": True,
        "file": {"driver": "file", "filename": name, "read-only": True, "locking": "off"},
    }
    if image_format in ("qcow2", "vmdk"):
        node["backing"] = None
    if image_format == "vhd":
        node["force_size_calc"] = "current_size"  # what the footer says, not what old disks' geometry would
    return [
        "prlimit",
        f"--cpu={cpu_seconds}",
        f"--as={_ADDRESS_SPACE}",
        "--fsize=0",
        "--core=0",
        "--nofile=64",
        "--",
        *(("setpriv", f"--reuid={identity}", f"--regid={identity}", "--clear-groups", "--") if identity else ()),
        *("unshare", "--user", "--map-current-user", "--net", "--ipc", "--"),
        *("setpriv", "--no-new-privs", "--pdeathsig=KILL", "--"),
        *("qemu-nbd", "--read-only", f"--socket=/proc/self/cwd/{_SOCKET}", f"json:{json.dumps(node)}"),
    ]


def _start(folder: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd=folder,
            start_new_session=True,
            umask=0,  # so that we, who may have no right to others' files, can connect to its socket
        )
    except OSError as error:
        raise BadImageError(f"qemu-nbd cannot be started to read the image: {error}") from error


def _wait(reader: ConfinedReader, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the socket is there; raises BadImageError when it does not come."""
    deadline = time.monotonic() + _START_SECONDS
    while not Path(reader.socket_path).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BadImageError(f"QEMU does not take the image: {reader.why_ended()}")
        time.sleep(_PAUSE_SECONDS)
