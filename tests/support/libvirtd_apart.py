"""A libvirtd with virtlogd that stores all its files below one directory, in its own mount namespace.

Run as a plain file (`python -I -S libvirtd_apart.py ROOT REAPER`). The daemons' directories are fixed at compile time,
so ROOT's are mounted over them, only for these daemons and their guests. The agent's `reaper.py` reaps guests.
"""

import ctypes
import os
import shutil
import socket
import sys
import uuid
from pathlib import Path

_PLACES = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
# Guests pass the directory of the daemons' sockets, to that of their TPMs; the sockets are root's alone.
_SOCKETS = "".join(f'unix_sock_{kind}_perms = "0700"\n' for kind in ("ro", "rw"))
_MS_BIND = 4096  # linux/mount.h
_MS_REC = 16384
_MS_PRIVATE = 1 << 18


def main(argv: list[str]) -> None:
    """Create the namespace and become the reaper of a libvirtd in it."""
    root, reaper = Path(argv[0]), argv[1]
    _prepare(root)
    os.unshare(os.CLONE_NEWNS | os.CLONE_NEWUTS)
    # Libvirt identifies hosts by name: it would refuse migration between two daemons with the same host name.
    socket.sethostname(f"stead-{_host_uuid(root)[:8]}")
    _mount("none", "/", _MS_REC | _MS_PRIVATE)
    for name, place in _PLACES.items():
        _mount(str(root / name), place, _MS_BIND)
    if not _is_listened_at(str(root / "run" / "virtlogd-sock")):  # it may have outlived the previous libvirtd
        status = os.waitstatus_to_exitcode(os.waitpid(_start_virtlogd(root), 0)[1])
        if status != 0:
            sys.exit(f"libvirtd_apart: virtlogd: status {status}")
    libvirtd = ["libvirtd", "--pid-file", str(root / "libvirtd.pid")]
    os.execv(sys.executable, [sys.executable, "-I", "-S", reaper, *libvirtd])


def _prepare(root: Path) -> None:
    """Make the directories, once, with the machine's own configuration and another host UUID."""
    for name, place in _PLACES.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(0o711)  # also where an earlier run made it
        Path(place).mkdir(mode=0o755, parents=True, exist_ok=True)
    configuration = root / "etc" / "libvirtd.conf"
    if not configuration.exists():
        # Only these: the rest is the machine's own domains and networks.
        for file in Path(_PLACES["etc"]).glob("*.conf"):
            shutil.copy2(file, root / "etc")
        with configuration.open("a", encoding="utf-8") as appended:
            appended.write(f'\nhost_uuid = "{_host_uuid(root)}"\n{_SOCKETS}')


def _host_uuid(root: Path) -> str:
    """Derive the host UUID from the directory."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, root.as_uri()))


def _is_listened_at(path: str) -> bool:
    """Tell whether a process listens at a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _start_virtlogd(root: Path) -> int:
    """Start virtlogd, which daemonises when it listens."""
    argv = ["virtlogd", "--daemon", "--pid-file", str(root / "virtlogd.pid")]
    return os.posix_spawnp(argv[0], argv, os.environ)


def _mount(source: str, target: str, flags: int) -> None:
    """Call mount(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


if __name__ == "__main__":
    main(sys.argv[1:])
