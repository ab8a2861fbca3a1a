"""A box around tests that touch the host: their own network, mounts, host name and IPC, without a way out.

A cloud that runs on this machine is neither seen nor touched, tests of two checkouts do not collide, and no packet can
leave by a real interface, since there is none. `python -m tests.support.box COMMAND …` runs a command in one.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.support.waiting import wait_for

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_LIBVIRT_PLACES = (
    "/run/libvirt",
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
    "/var/log/swtpm",
)


def enter() -> None:
    """Move this process and its future children into a new box, for good. Needs root and a single thread."""
    resolver = Path("/etc/resolv.conf")
    known = resolver.read_text(encoding="utf-8") if resolver.exists() else ""
    # The leak check recognises the box's processes by the IPC namespace: Stead makes no other one.
    os.unshare(os.CLONE_NEWNET | os.CLONE_NEWNS | os.CLONE_NEWUTS | os.CLONE_NEWIPC)
    socket.sethostname(f"box-{os.getpid()}")
    _run("mount", "--make-rprivate", "/")
    _mount_sysfs()
    _mount_run()
    _own_libvirt()
    if not resolver.exists() and resolver.is_symlink():  # it pointed into the old /run
        target = Path(os.path.realpath(resolver))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(known, encoding="utf-8")
    _run("ip", "link", "set", "lo", "up")


def reboot() -> None:
    """Reboot the machine of this box, as after a power failure: only what is on disk remains.

    Kills every other process of the box; then there are an empty network, an empty /run and another boot id.
    """
    wait_for(_all_others_are_dead, "all processes are dead", 20)
    # The old network namespace vanishes with its last process, socket and name: its links, routes and tables.
    os.unshare(os.CLONE_NEWNET)
    _run("umount", "--recursive", "--lazy", "/run")
    _mount_run()
    _mount_sysfs()
    _run("ip", "link", "set", "lo", "up")
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
        file.write(f"{uuid.uuid4()}\n")
        file.flush()
        _run("mount", "--bind", file.name, _BOOT_ID)


def _all_others_are_dead() -> bool:
    """Kill all other processes of the box, and tell whether there were none: one may have started another meanwhile.

    An agent does so whose libvirt is killed first, as happens when process ids have wrapped around.
    """
    others = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and ours(path.name)]
    living = [pid for pid in others if pid != os.getpid() and _lives(pid)]
    for pid in living:
        with contextlib.suppress(ProcessLookupError):  # it has exited by itself
            os.kill(pid, signal.SIGKILL)
    return not living


def _lives(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def _mount_run() -> None:
    """Mount an empty /run: for sockets, pid files, named network namespaces; no systemd, so daemons start directly."""
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("lock", "netns", "libvirt"):
        Path("/run", name).mkdir(mode=0o755)


def enter_neighbour() -> None:
    """Move this process into namespaces as of a second host on the same machine: all its own, but a shared /run."""
    os.unshare(os.CLONE_NEWNET | os.CLONE_NEWNS | os.CLONE_NEWUTS)
    socket.sethostname(f"neighbour-{os.getpid()}")
    _mount_sysfs()
    _own_libvirt()
    _run("ip", "link", "set", "lo", "up")


def _mount_sysfs() -> None:
    """Show this network namespace's links in /sys/class/net, and keep the control groups, which a new sysfs hides."""
    with tempfile.TemporaryDirectory() as aside:
        _run("mount", "--rbind", "/sys/fs/cgroup", aside)
        _run("mount", "-t", "sysfs", "sysfs", "/sys")
        _run("mount", "--rbind", aside, "/sys/fs/cgroup")
        _run("umount", "-l", aside)


def _own_libvirt() -> None:
    """Mount empty folders over those of the machine's libvirt, with its configuration and another host UUID."""
    for place in _LIBVIRT_PLACES:
        folder = Path(place)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        configuration = {path.name: path for path in folder.glob("*.conf")} if place == "/etc/libvirt" else {}
        remaining = {name: path.read_bytes() for name, path in configuration.items()}
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
        for name, content in remaining.items():
            (folder / name).write_bytes(content)
    with Path("/etc/libvirt/libvirtd.conf").open("a", encoding="utf-8") as file:
        file.write(f'\nhost_uuid = "00000000-0000-4000-8000-{os.getpid():012x}"\n')


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)


def ours(pid: int | str) -> bool:
    """Tell whether a process belongs to this box (or, outside a box, to the machine itself)."""
    try:
        return Path(f"/proc/{pid}/ns/ipc").readlink() == Path("/proc/self/ns/ipc").readlink()
    except OSError:
        return False  # it has exited


def run_in_another(story: Callable[[Path], None], folder: Path) -> None:
    """Call a module's function in another process, in its own box; its exceptions are raised here."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=enter) as other:
        other.submit(story, folder).result()


def main() -> None:
    """Run a command in a new box."""
    command = sys.argv[1:] or [shutil.which("bash") or "sh"]
    enter()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
