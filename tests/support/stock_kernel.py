"""Run a script as root on Debian's stock kernel, for what this machine's own kernel lacks: device-mapper and modules.

The guest's root is this machine's `/`, read-only over virtiofs, with a tmpfs overlay: it has this checkout, its
virtual environment and all programs, and leaves nothing behind. It has no network.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.micro.build import find_kernel
from images.packages import PackageCache, find_candidates
from stead_cli.processes import last_lines
from tests.support import emulator
from tests.support.processes import ROOT
from tests.support.waiting import wait_for

_VIRTIOFSD: Final = Path("/usr/libexec/virtiofsd")
_SECONDS: Final = 800  # the LVM tests took more than 120 at a load of 5

# The only program: makes the root writable, runs the script, prints its status on a port that the kernel does not write
# to, powers off. With pivot_root, as after chroot the kernel would look for modprobe and modules in the old root.
_INIT: Final = r"""#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
modprobe -d "$MODULES" overlay
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
rm -rf usr/lib/modules; mkdir usr/lib/modules
ln -s "$MODULES/lib/modules/$(uname -r)" usr/lib/modules/
pivot_root . mnt
cd /
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /dev/shm /run/checkout /run/modules
# What is below the old /tmp is seen below the new one as well.
mount --bind "$CHECKOUT" /run/checkout
mount --bind "$MODULES" /run/modules
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /var/tmp
show() { [ -e "$2" ] || { mkdir -p "$2"; mount --move "$1" "$2"; }; }
show /run/checkout "$CHECKOUT"
show /run/modules "$MODULES"
modprobe virtio_blk
cd "$CHECKOUT"
@COMMAND@
echo $? >/dev/ttyS1
echo 1 >/proc/sys/kernel/sysrq
echo o >/proc/sysrq-trigger
exec tail -f /dev/null
"""

# Emulated, a fifth level of page tables, pages that are cleared twice and AppArmor would cost a second of a processor.
_QUICKLY: Final = "console=ttyS0 quiet mitigations=off no5lvl init_on_alloc=0 lsm=capability"
_PHYSICAL: Final = "linux-image-amd64"  # that depends on the newest one


class CannotRunError(Exception):
    """This machine lacks something that such a guest needs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The output of a script, and its status."""

    output: str
    status: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """What such a guest has besides two disks: options of QEMU that come before all that are devices, and the kernel's.

    With `physical` it has the kernel that Debian installs on machines, which knows far more hardware than that for clouds.
    """

    options: Sequence[str] = ()
    kernel_options: str = ""
    physical: bool = False
    seconds: int = _SECONDS  # after which it must be done


_NOTHING_MORE: Final = Hardware()


def kernel(*, physical: bool = False) -> Path:
    """Unpack the kernel and its modules once per version; needs the network only when the cache is empty."""
    cache = Path(os.environ.get("STEAD_CACHE_DIR") or "/var/cache/stead")
    packages = PackageCache(cache / "images")
    name = _physical_kernel() if physical else find_kernel(packages)
    package = packages.fetch([name])[name]
    folder = cache / "tests" / "kernels" / package.stem
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            subprocess.run(["dpkg-deb", "-x", package, scratch], check=True)
            (version,) = (Path(scratch) / "usr" / "lib" / "modules").iterdir()
            subprocess.run(["depmod", "-b", Path(scratch) / "usr", version.name], check=True)
            Path(scratch).chmod(0o755)
            shutil.copytree(scratch, folder.with_suffix(".new"), symlinks=True, dirs_exist_ok=True)
        folder.with_suffix(".new").rename(folder)
    return folder


def _physical_kernel() -> str:
    """Return the name of the kernel package for machines; raises CannotRunError when apt knows none."""
    meta = find_candidates([_PHYSICAL]).get(_PHYSICAL)
    if meta is None:
        raise CannotRunError(f"apt does not know {_PHYSICAL}: run apt-get update")
    return next(name for name in meta.depends if name.startswith("linux-image-"))


def has_programs() -> bool:
    """Tell whether this machine has the program that serves such a guest its files."""
    return _VIRTIOFSD.exists()


def run(command: str, *, disk: int, hardware: Hardware = _NOTHING_MORE) -> Ended:
    """Run a shell command at the top of this checkout, with an empty disk of `disk` bytes as /dev/vda.

    Raises CannotRunError, and AssertionError when the guest did not finish the command.
    """
    if not has_programs():
        raise CannotRunError("virtiofsd is not installed")
    with tempfile.TemporaryDirectory(prefix="stead-stock-", dir="/var/tmp") as folder:
        return emulator.booted(lambda: _boot(Path(folder), command, disk, hardware))


def _boot(folder: Path, command: str, disk: int, hardware: Hardware) -> Ended:
    """Boot the guest and wait until it ends; raises EmulatorDiedError, and AssertionError when it did not finish."""
    root = kernel(physical=hardware.physical)
    sock, console, status, init = (folder / name for name in ("fs.sock", "console", "status", "init"))
    with (folder / "disk").open("wb") as file:
        file.truncate(disk)
    words = {"MODULES": root / "usr", "CHECKOUT": ROOT}
    lines = [f"export {name}={shlex.quote(str(value))}" for name, value in words.items()]
    script = _INIT.replace("@COMMAND@", f"{{ {command}\n}} </dev/null")
    init.write_text(script.replace("#!/bin/bash\n", "#!/bin/bash\n" + "\n".join(lines) + "\n"))
    init.chmod(0o755)
    server = subprocess.Popen(
        [_VIRTIOFSD, f"--socket-path={folder}/fs.sock", "--shared-dir=/", "--sandbox=none", "--readonly", "--cache=always",
         "--no-announce-submounts"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(sock.exists, "virtiofsd listens")
        machine = _start(root, folder, hardware)
        try:
            machine.wait(hardware.seconds)
        except subprocess.TimeoutExpired:
            pass  # no status then, which is reported below with its console's end
        finally:
            machine.kill()
            machine.wait()
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
        sock.unlink(missing_ok=True)
    output, said = console.read_text(errors="replace").replace("\r\n", "\n"), status.read_text().strip()
    if not said:
        emulator.check_status(machine.returncode, last_lines(folder / "qemu.log"))
    assert said, f"the guest was not done after {hardware.seconds} s, or died; its console ends with\n{output[-2000:]}"
    return Ended(output.strip(), int(said))


def _start(root: Path, folder: Path, hardware: Hardware) -> "subprocess.Popen[bytes]":
    """Start the guest with the files in the folder."""
    (kernel_file,) = (root / "boot").glob("vmlinuz-*")
    arguments: list[str | Path] = [
        # A second processor would take a fifth more of the host's time.
        *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "1G"),
        *hardware.options,
        *("-object", "memory-backend-memfd,id=mem,size=1G,share=on", "-numa", "node,memdev=mem"),
        *("-chardev", f"socket,id=fs,path={folder}/fs.sock", "-device", "vhost-user-fs-pci,chardev=fs,tag=rootfs"),
        *("-drive", f"file={folder}/disk,format=raw,if=none,id=disk,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=disk", "-kernel", kernel_file, "-nodefaults", "-display", "none"),
        *("-serial", f"file:{folder}/console", "-serial", f"file:{folder}/status", "-no-reboot", "-append"),
        f"{_QUICKLY} rootfstype=virtiofs root=rootfs ro init={folder}/init panic=-1 {hardware.kernel_options}",
    ]
    with (folder / "qemu.log").open("wb") as log:
        return subprocess.Popen(["qemu-system-x86_64", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
