"""A machine booted by systemd: a container with this machine's files and programs, all else its own, and no uplink.

What it writes goes to its own folder and is still there at its next boot. It consists of namespaces and an overlay
of `/`, so it can do what the real machine can: libvirt, guests, nftables.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stead_cli.settings import Settings
from tests.support.prepared import prepare
from tests.support.processes import ROOT, clean_environment
from tests.support.waiting import wait_for

INIT = Path("/lib/systemd/systemd")

# In this order: its root, kernel file systems, devices, an empty /run; then systemd.
_BOOT = """
set -eu
mount --make-rprivate /
mount -t overlay -o "lowerdir=/,upperdir=$FOLDER/upper,workdir=$FOLDER/work" overlay "$FOLDER/root"
cd "$FOLDER/root"
mkdir -p ".$CHECKOUT"
mount --bind "$CHECKOUT" ".$CHECKOUT"
mount -t proc proc proc
mount --bind "$FOLDER/boot-id" proc/sys/kernel/random/boot_id
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm dev/net
for name in null zero full random urandom tty kvm net/tun; do
  if [ -e /dev/$name ]; then touch dev/$name; mount --bind /dev/$name dev/$name; fi
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
pivot_root . mnt
umount -l /mnt
cd /
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
"""


class CannotBootError(Exception):
    """This machine lacks something that such a container needs."""


@dataclass
class Machine:
    """The container; it runs between `boot` and `power_cut`."""

    folder: Path
    group: Path
    cloud: Settings = field(default_factory=Settings)  # of the cloud that it will have
    pid: int = 0  # of its systemd, as seen from here
    _outer: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def boot(self) -> None:
        """Start it, and return when systemd has started all its units.

        It has a micro image, and a proof of this boot that its KVM is as good as this machine's.
        """
        boot_id = str(uuid.uuid4())
        (self.folder / "boot-id").write_text(f"{boot_id}\n", encoding="ascii")
        images, agent = (
            self.folder / "upper" / path.relative_to("/") for path in (self.cloud.image_dir, self.cloud.agent_dir)
        )
        prepare(images, agent, boot_id=boot_id)
        options = ["--mount", "--uts", "--ipc", "--pid", "--net", "--cgroup", "--fork", "--kill-child"]
        with (self.folder / "console").open("ab") as console:
            self._outer = subprocess.Popen(
                ["sh", "-c", f'echo $$ >"$GROUP/cgroup.procs"; exec unshare {" ".join(options)} sh -c "$BOOT"'],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "FOLDER": str(self.folder),
                    "GROUP": str(self.group),
                    "CHECKOUT": str(ROOT),
                    "BOOT": _BOOT,
                },
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        wait_for(self._is_up, f"systemd is up; its console: {self.console()}", 180, poll=0.2)

    def console(self) -> str:
        """The output on its console."""
        return (self.folder / "console").read_text(encoding="utf-8", errors="replace")[-2000:]

    def run(self, *command: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run a command in it, whatever its status."""
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", "--", *command],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def must(self, *command: str, timeout: float = 120) -> str:
        """Run a command in it that must succeed, and return its stdout."""
        done = self.run(*command, timeout=timeout)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def power_cut(self) -> None:
        """Kill all its processes at once."""
        if self._outer is None:
            return
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self._outer.kill()
        self._outer.wait(300)  # its files are freed with it: a disk that discards takes minutes for a rack's
        self._outer, self.pid = None, 0

    def _is_up(self) -> bool:
        assert self._outer is not None
        if self._outer.poll() is not None:
            raise CannotBootError(self.console())
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text(encoding="ascii").split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text(encoding="ascii").strip() != "systemd":
            return False
        self.pid = int(children[0])
        return self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """Make a machine that was never booted, without the units that are enabled on this one. Raises CannotBootError."""
    groups = _unified_groups()
    if groups is None or not INIT.exists():
        raise CannotBootError("needs systemd's program and control groups of version 2")
    folder = Path(tempfile.mkdtemp(prefix="stead-booted-", dir="/var/tmp"))
    group = groups / folder.name
    group.mkdir()
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    made = Machine(folder, group)
    try:
        _hide_what_is_enabled(folder / "upper")
        yield made
    finally:
        made.power_cut()
        wait_for(lambda: _remove_groups(group), "its control groups are empty", 20, poll=0.1)
        shutil.rmtree(folder)


def _unified_groups() -> Path | None:
    """The mount point of cgroup v2."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        place, _, kind = line.partition(" - ")
        if kind.split()[0] == "cgroup2":
            return Path(place.split()[4])
    return None


def _hide_what_is_enabled(upper: Path) -> None:
    """Hide the folders of enabled units, of a cloud's state and of libvirt's guests behind empty opaque ones."""
    for place in ("etc/systemd/system", "etc/libvirt/qemu", "var/lib/libvirt/qemu", "var/lib/stead"):
        (upper / place).mkdir(parents=True)
        os.setxattr(upper / place, "trusted.overlay.opaque", b"y")
    if ROOT.is_relative_to("/tmp"):  # mounting a tmpfs on /tmp, as Debian does, would hide the checkout
        (upper / "etc/systemd/system/tmp.mount").symlink_to("/dev/null")


def _remove_groups(group: Path) -> bool:
    """Remove a control group and its children, and tell whether it is gone; those with processes cannot be removed."""
    for path in sorted(group.rglob("*"), reverse=True):
        if path.is_dir():
            with contextlib.suppress(OSError):  # still has a process: tried again
                path.rmdir()
    with contextlib.suppress(OSError):  # as above
        group.rmdir()
    return not group.exists()
