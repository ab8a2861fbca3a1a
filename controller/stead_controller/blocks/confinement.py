"""Runs the controller's only external programs, qemu-nbd and qemu-img, which read possibly hostile files, unprivileged.

They run as an otherwise unused user, in a network namespace without links, with limits of time, memory and file size
(qemu-nbd: 0); their folder holds only the file that they read. The format is given, and backing files are not opened
even if the checks before (`image_formats.py`) had missed them.
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

# User ids without a user: above those that systemd gives to containers (1,879,048,191), below what setuid refuses.
_FIRST_ID: Final = 2_000_000_000
_IDS: Final = 1_000
_ADDRESS_SPACE: Final = 1 << 30
_STACK: Final = 4 << 20  # of each thread, whatever the controller's own limit is
_START_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.003
_STDERR_TAIL: Final = 500
# QEMU has up to 64 threads, as many as requests wait for a slow disk: with a malloc arena of 64 MiB each they would
# not fit in the address space.
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}
_SOCKET: Final = "socket"
_DRIVERS: Final = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx"}

# The formats that EC2 exports: a VMDK for sequential reading, a VHD of the exact size.
_OPTIONS: Final = {"vmdk": ("-o", "subformat=streamOptimized"), "vhd": ("-o", "force_size=on")}
_FILE_MARGIN: Final = 64 << 20

_runs = itertools.count()


class ConversionError(Exception):
    """A disk could not be written as a file of another format."""


class ConfinedReader:
    """A running qemu-nbd that serves one image file at `socket_path`, as the process `process_id`."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket_path: str) -> None:
        """Store the dependencies."""
        self._process = process
        self.process_id = process.pid
        self.socket_path = socket_path

    def is_alive(self) -> bool:
        """Tell whether the program still runs."""
        return self._process.poll() is None

    def failure_reason(self) -> str:
        """Return why the program has ended before its work was done."""
        try:
            status = self._process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            return "the reader does not answer"
        assert self._process.stderr
        stderr = self._process.stderr.read(_STDERR_TAIL).decode(errors="replace").strip()
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return "reading the image takes more time than it may"
        return stderr.removeprefix("qemu-nbd: ") or f"the reader ended with status {status}"


@contextlib.contextmanager
def serve(image: Path, image_format: str, cpu_seconds: int) -> Iterator[ConfinedReader]:
    """Serve an image file, alone in its folder, read-only by NBD inside the `with` block; raises BadImageError.

    The reader may read the file and create its socket in the folder by its group; it owns nothing.
    """
    folder = image.parent
    identity = _identity()
    _grant_access(image, identity)
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    process = _start(folder, _command(image.name, image_format, cpu_seconds, identity))
    try:
        # The folder's own path could be too long for a socket's address.
        reader = ConfinedReader(process, f"/proc/self/fd/{handle}/{_SOCKET}")
        _wait(reader, process)
        yield reader
    finally:
        _end(process)
        os.close(handle)


def _grant_access(file: Path, identity: int | None) -> None:
    """Let a reader read a file and write beside it, through its group."""
    if identity is not None:
        for path, mode in ((file, 0o640), (file.parent, 0o770)):
            os.chown(path, 0, identity, follow_symlinks=False)
            path.chmod(mode)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the program if it still runs, with all processes that it has started, and close the pipes."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _identity() -> int | None:
    """Choose the user id for the reader; None when the controller does not run as root."""
    return _FIRST_ID + next(_runs) % _IDS if os.geteuid() == 0 else None


def _command(name: str, image_format: str, cpu_seconds: int, identity: int | None) -> list[str]:
    node: dict[str, Any] = {
        "driver": _DRIVERS[image_format],
        "read-only": True,
        "file": {"driver": "file", "filename": name, "read-only": True, "locking": "off"},
    }
    if image_format in ("qcow2", "vmdk"):
        node["backing"] = None
    if image_format == "vhd":
        node["force_size_calc"] = "current_size"  # the size in the footer, not the one computed from the geometry
    return [
        *_confined(cpu_seconds, 0, identity),
        *("qemu-nbd", "--read-only", f"--socket=/proc/self/cwd/{_SOCKET}", f"json:{json.dumps(node)}"),
    ]


def _confined(cpu_seconds: int, file_size: int, identity: int | None) -> list[str]:
    """Build the command prefix that confines the program after it, which may write files of `file_size` bytes.

    Dropping privileges by means of other programs avoids a fork of the controller's whole memory.
    """
    return [
        "prlimit",
        f"--cpu={cpu_seconds}",
        f"--as={_ADDRESS_SPACE}",
        f"--stack={_STACK}",
        f"--fsize={file_size}",
        "--core=0",
        "--nofile=64",
        "--",
        *(("setpriv", f"--reuid={identity}", f"--regid={identity}", "--clear-groups", "--") if identity else ()),
        *("unshare", "--user", "--map-current-user", "--net", "--ipc", "--"),
        *("setpriv", "--no-new-privs", "--pdeathsig=KILL", "--"),
    ]


def convert(disk: Path, image_format: str, cpu_seconds: int) -> Path:
    """Write a file `image` of another format of a raw disk, beside it, and return its path; raises ConversionError."""
    identity = _identity()
    _grant_access(disk, identity)
    size = disk.stat().st_size
    made = disk.with_name("image")
    # No format adds more than this to the content.
    command = _confined(cpu_seconds, size + size // 8 + _FILE_MARGIN, identity)
    command += ["qemu-img", "convert", "-f", "raw", "-O", _DRIVERS[image_format], *_OPTIONS.get(image_format, ())]
    process = _start(disk.parent, [*command, disk.name, made.name])
    try:
        _, stderr = process.communicate(timeout=4 * cpu_seconds)
    except subprocess.TimeoutExpired:
        raise ConversionError("writing the file takes more time than it may") from None
    finally:
        _end(process)
    if process.returncode != 0:
        words = stderr[-_STDERR_TAIL:].decode(errors="replace").strip()
        raise ConversionError(f"qemu-img ended with status {process.returncode}: {words}")
    return made


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
            umask=0,  # so that the controller, which may lack rights to others' files, can connect to its socket
        )
    except OSError as error:
        raise BadImageError(f"qemu-nbd cannot be started to read the image: {error}") from error


def _wait(reader: ConfinedReader, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the socket exists; raises BadImageError when it does not appear."""
    deadline = time.monotonic() + _START_SECONDS
    while not Path(reader.socket_path).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BadImageError(f"QEMU does not take the image: {reader.failure_reason()}")
        time.sleep(_PAUSE_SECONDS)
