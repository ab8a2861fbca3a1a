"""A place of a rig: a process that holds the namespaces of a host, the underlay or the internet.

Run as a plain file (`python -I -S rig_place.py HOSTNAME [FOLDER]`). It is the first process of a PID namespace: the
kernel kills all processes of the place when it ends, and no namespace has a name outside, so nothing is left behind.
With FOLDER the place is a host: libvirt's directories are that folder's.
"""

import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from pathlib import Path

_LIBVIRT_PLACES = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8  # linux/mount.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18
_MNT_DETACH = 2  # umount2(2)

_libc = ctypes.CDLL(None, use_errno=True)


def main(argv: list[str]) -> None:
    """Start the place's first process, print its id, and exit.

    It waits for a line on stdin that the caller writes after storing the id: a caller that dies before leaves nothing.
    """
    os.unshare(os.CLONE_NEWNET | os.CLONE_NEWNS | os.CLONE_NEWUTS | os.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    if not sys.stdin.readline():
        os._exit(1)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    _furnish(argv[0], Path(argv[1]) if len(argv) > 1 else None)
    print("ready", flush=True)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    _reap()


def _reap() -> None:
    """Reap orphaned processes, until it is asked to end."""
    while signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) != signal.SIGTERM:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass  # all are reaped


def _furnish(hostname: str, folder: Path | None) -> None:
    """Give the place its host name, its own /proc, /sys and /run, and a host its own libvirt."""
    socket.sethostname(hostname)
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount_sysfs()
    names = Path("/etc/resolv.conf").resolve()
    # For sockets, pid files and names of network namespaces; without systemd, so daemons are started directly.
    _mount("tmpfs", "/run", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    for name in ("lock", "netns", "libvirt"):
        Path("/run", name).mkdir(mode=0o755)
    _no_resolvers(names)
    # A host that is powered off and made again has rebooted, although the machine has not: a new boot id. What depends
    # on the kernel alone, as whether KVM works, is found out once per boot of the machine all the same.
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    Path("/run/machine-boot-id").write_bytes(boot_id.read_bytes())
    _hide(str(boot_id), f"{uuid.uuid4()}\n")
    if folder is not None:
        _own_libvirt(folder)


def _no_resolvers(names: Path) -> None:
    """Hide the machine's DNS resolvers, which cannot be reached from here."""
    if names.is_relative_to("/run"):
        names.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        names.touch(mode=0o644)
    elif names.exists():
        _hide(str(names), "")


def _hide(path: str, content: str) -> None:
    """Show other content in place of a file's own."""
    shown = Path("/run") / Path(path).name
    shown.write_text(content, encoding="ascii")
    shown.chmod(0o444)
    _mount(str(shown), path, "", _MS_BIND)


def _mount_sysfs() -> None:
    """Show this network namespace's links in /sys/class/net, and keep the control groups, which a new sysfs hides."""
    with tempfile.TemporaryDirectory() as aside:
        _mount("/sys/fs/cgroup", aside, "", _MS_BIND | _MS_REC)
        _mount("sysfs", "/sys", "sysfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        _mount(aside, "/sys/fs/cgroup", "", _MS_BIND | _MS_REC)
        if _libc.umount2(aside.encode(), _MNT_DETACH) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), aside)


def _own_libvirt(folder: Path) -> None:
    """Mount the folder's directories over libvirt's, with the machine's configuration and another host UUID."""
    for name, place in _LIBVIRT_PLACES.items():
        (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        Path(place).mkdir(mode=0o755, parents=True, exist_ok=True)
    configuration = folder / "etc" / "libvirtd.conf"
    if not configuration.exists():
        # Only these: the rest is the machine's own domains and networks.
        for file in Path(_LIBVIRT_PLACES["etc"]).glob("*.conf"):
            shutil.copy2(file, folder / "etc")
        with configuration.open("a", encoding="utf-8") as appended:
            appended.write(f'\nhost_uuid = "{uuid.uuid5(uuid.NAMESPACE_URL, folder.as_uri())}"\n')
    for name, place in _LIBVIRT_PLACES.items():
        _mount(str(folder / name), place, "", _MS_BIND)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Call mount(2)."""
    texts = (source, target, kind)
    if _libc.mount(*(text.encode() or None for text in texts), flags, options.encode() or None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


if __name__ == "__main__":
    main(sys.argv[1:])
