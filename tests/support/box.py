"""A box around tests that touch the host: network, mounts, host name and IPC of their own, and nothing leads out.

A cloud that runs on this machine is neither seen nor touched, tests of two checkouts do not meet, and no packet can
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
_LIBVIRT_PLACES = ("/run/libvirt", "/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")


def enter() -> None:
    """Move this process, and all it will start, into a new box; cannot be undone. Needs root and no other threads."""
    resolver = Path("/etc/resolv.conf")
    known = resolver.read_text(encoding="utf-8") if resolver.exists() else ""
    # IPC is what the leak check knows the box's processes by: nothing of ours makes another such namespace.
    os.unshare(os.CLONE_NEWNET | os.CLONE_NEWNS | os.CLONE_NEWUTS | os.CLONE_NEWIPC)
    socket.sethostname(f"box-{os.getpid()}")
    _run("mount", "--make-rprivate", "/")
    _mount_sysfs()
    _mount_run()
    _own_libvirt()
    if not resolver.exists() and resolver.is_symlink():  # it led into the old /run
        target = Path(os.path.realpath(resolver))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(known, encoding="utf-8")
    _run("ip", "link", "set", "lo", "up")


def reboot() -> None:
    """Let the machine of this box start anew, as after a power cut: only what is on disk is still there.

    Every other process of the box ends; then come an empty network, an empty /run and another boot id.
    """
    wait_for(_all_others_are_dead, "all processes are dead", 20)
    # With its last process, socket and name the old network vanishes: its links, routes and tables.
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
    """Kill every other process of the box, and tell whether there was none: one may have started another meanwhile.

    So does an agent whose libvirt is killed before it, as where process ids have begun anew.
    """
    others = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and ours(path.name)]
    living = [pid for pid in others if pid != os.getpid() and _lives(pid)]
    for pid in living:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)
    return not living


def _lives(pid: int) -> bool:
    """Tell whether a process has not ended; one that nobody has reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def _mount_run() -> None:
    """Sockets, pid files and names of network namespaces; no systemd either, so daemons are started plainly."""
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("lock", "netns", "libvirt"):
        Path("/run", name).mkdir(mode=0o755)


def enter_neighbour() -> None:
    """Move this process into what a second host's programs on one machine may have: all of its own but /run."""
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
    """Put empty folders over those of the machine's libvirt, with the machine's configuration and another host id."""
    for place in _LIBVIRT_PLACES:
        folder = Path(place)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        configuration = {path.name: path for path in folder.glob("*.conf")} if place == "/etc/libvirt" else {}
        kept = {name: path.read_bytes() for name, path in configuration.items()}
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
        for name, content in kept.items():
            (folder / name).write_bytes(content)
    with Path("/etc/libvirt/libvirtd.conf").open("a", encoding="utf-8") as file:
        file.write(f'\nhost_uuid = "00000000-0000-4000-8000-{os.getpid():012x}"\n')


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20, stdin=subprocess.DEVNULL)


def ours(pid: int | str) -> bool:
    """Tell whether a process belongs to this box (or, outside of one, to this machine's own surroundings)."""
    try:
        return Path(f"/proc/{pid}/ns/ipc").readlink() == Path("/proc/self/ns/ipc").readlink()
    except OSError:
        return False  # it has ended


def run_in_another(story: Callable[[Path], None], folder: Path) -> None:
    """Call a function of a module in another process, in a box of its own; what it raises is raised here."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=enter) as other:
        other.submit(story, folder).result()


def main() -> None:
    """Run a command in a new box."""
    command = sys.argv[1:] or [shutil.which("bash") or "sh"]
    enter()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
