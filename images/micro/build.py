#!/usr/bin/env python3
"""Debian's cloud kernel, busybox and dropbear become micro.qcow2, an image that boots in seconds under emulation.

Run as a program, or call ``build``. What the guest does at boot is in ``initrd/init`` and ``rootfs/usr/lib/stead``.
"""

import lzma
import re
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from images import disk
from images.command_line import run_as_program
from images.disk import DiskPlan, build_disk
from images.efi import read_loaders
from images.packages import ImageBuildError, PackageCache, find_candidates, read_members, require_tools
from images.tree import Node, Tree

HERE = Path(__file__).resolve().parent
TIME = 1_760_000_000
"""Every time stamp in the image (seconds since 1970): the same inputs give the same bytes."""

LIBRARIES = "usr/lib/x86_64-linux-gnu/"
KERNEL_META_PACKAGE = "linux-image-cloud-amd64"

CHOSEN_FILES: dict[str, tuple[str, ...]] = {
    "busybox-static": ("usr/bin/busybox",),
    "dropbear-bin": ("usr/sbin/dropbear", "usr/bin/dropbearkey"),
    "e2fsprogs": ("usr/sbin/mke2fs", "usr/sbin/mkfs.ext4", "usr/sbin/resize2fs", "etc/mke2fs.conf"),
    "libc6": (f"{LIBRARIES}ld-linux-x86-64.so.2", f"{LIBRARIES}libc.so.6", "usr/lib64/ld-linux-x86-64.so.2"),
    "libcrypt1": (f"{LIBRARIES}libcrypt.so.",),
    "libtomcrypt1": (f"{LIBRARIES}libtomcrypt.so.",),
    "libtommath1": (f"{LIBRARIES}libtommath.so.",),
    "libgmp10": (f"{LIBRARIES}libgmp.so.",),
    "zlib1g": (f"{LIBRARIES}libz.so.",),
    "libext2fs2t64": (f"{LIBRARIES}libext2fs.so.", f"{LIBRARIES}libe2p.so."),
    "libcom-err2": (f"{LIBRARIES}libcom_err.so.",),
    "libblkid1": (f"{LIBRARIES}libblkid.so.",),
    "libuuid1": (f"{LIBRARIES}libuuid.so.",),
}
"""Package to the files taken from it; a name that ends in a dot or slash stands for all that begin so."""

EARLY_MODULES = ("drivers/block/virtio_blk", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net")
"""Drivers not built into the kernel that ``initrd/init`` loads, in this order."""

LATE_MODULES = ("drivers/acpi/button", "drivers/input/evdev", "drivers/char/hw_random/virtio-rng")
"""Drivers not built into the kernel that ``rootfs/usr/lib/stead/power-button`` loads."""

USERS = ("ec2-user", "debian", "admin", "ubuntu")
"""Users beside root, numbered from 1000, as in ``rootfs/etc/passwd``."""

MOUNT_POINTS = ("dev", "proc", "sys", "run", "mnt")

TOOLS = {**disk.TOOLS, "apt-get": "apt", "dpkg-deb": "dpkg"}
APT_PACKAGES = tuple(sorted(set(TOOLS.values())))
"""Debian packages with the programs that a build needs on the building machine."""

PLAN = DiskPlan(
    size_mib=96,
    label="stead-micro",
    identity=uuid.UUID("5ead0000-6d69-4372-8f00-000000000001"),
    time=TIME,
    bytes_per_inode=16384,
    journal_mib=4,
    kernel="/boot/vmlinuz",
    initrd="/boot/initrd",
    command_line=(
        "console=tty0 console=ttyS0 quiet net.ifnames=0 mitigations=off no_timer_check cryptomgr.notests "
        "random.trust_cpu=on lsm=capability initcall_blacklist=jent_mod_init panic=5"
    ),
)


def build(output: Path, cache: Path, say: Callable[[str], None]) -> None:
    """Write the image to ``output``, keeping packages in ``cache``; ``say`` is told each step.

    Raise ImageBuildError when a tool or a package is missing.
    """
    require_tools(TOOLS)
    say("packages: ask apt, download what the cache lacks")
    store = PackageCache(cache)
    kernel_name = find_kernel(store)
    debs = store.fetch([kernel_name, *CHOSEN_FILES])
    say(f"kernel: {debs[kernel_name].name}")
    kernel, modules = read_kernel(debs[kernel_name])
    say("root file system: put together")
    tree = make_tree({name: deb for name, deb in debs.items() if name in CHOSEN_FILES})
    tree.add_file("boot/vmlinuz", kernel)
    tree.add_file("boot/initrd", make_initrd(tree, {name: modules[name] for name in names_of(EARLY_MODULES)}))
    for name in names_of(LATE_MODULES):
        tree.add_file(f"usr/lib/stead/modules/{name}", modules[name])
    tree.add_file("etc/stead-micro-packages", "".join(f"{deb.stem}\n" for deb in sorted(debs.values())).encode())
    say("disk: file system, boot loader, qcow2")
    with tempfile.TemporaryDirectory(prefix="stead-micro-") as scratch:
        tar = Path(scratch) / "root.tar"
        tree.write_tar(tar, TIME)
        build_disk(tar, PLAN, read_loaders(store), output)
    say(f"done: {output} ({output.stat().st_size / 1e6:.1f} MB)")


def find_kernel(store: PackageCache) -> str:
    """Return the name of the kernel package that Debian's meta package stands for now, or the newest cached one."""
    meta = find_candidates([KERNEL_META_PACKAGE]).get(KERNEL_META_PACKAGE)
    if meta is not None:
        return next(name for name in meta.depends if name.startswith("linux-image-"))
    names = {path.name.split("_")[0] for path in store.folder.glob("linux-image-*-cloud-amd64_*.deb")}
    if not names:
        raise ImageBuildError(f"apt does not know {KERNEL_META_PACKAGE} and no kernel is cached: run apt-get update")
    return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def read_kernel(deb: Path) -> tuple[bytes, dict[str, bytes]]:
    """Return the kernel, and each early and late driver by file name (``virtio_blk.ko``), decompressed."""
    kernel = b""
    modules: dict[str, bytes] = {}
    wanted = tuple(f"/kernel/{module}.ko.xz" for module in EARLY_MODULES + LATE_MODULES)
    for member, data in read_members(deb, lambda path: path.startswith("boot/vmlinuz-") or path.endswith(wanted)):
        if member.name.startswith("boot/vmlinuz-"):
            kernel = data
        else:
            modules[Path(member.name).name.removesuffix(".xz")] = lzma.decompress(data)
    missing = set(names_of(EARLY_MODULES + LATE_MODULES)) - set(modules)
    if missing or not kernel:
        raise ImageBuildError(
            f"{deb.name} lacks {', '.join(missing) or 'a kernel'}: the lists of modules are out of date"
        )
    return kernel, modules


def names_of(modules: Sequence[str]) -> list[str]:
    """File names of drivers given by their places in the kernel's source (``virtio_blk.ko``)."""
    return [f"{Path(module).name}.ko" for module in modules]


def make_tree(debs: dict[str, Path]) -> Tree:
    """Put packages' chosen files, busybox's links and our own files into one tree, all programs in usr/bin."""
    tree = Tree()
    for folder in ("usr/bin", "usr/lib", "usr/local/bin", *MOUNT_POINTS, "etc/dropbear", "var/log"):
        tree.add_folder(folder)
    tree.add_folder("tmp", 0o1777)
    tree.add_folder("var/tmp", 0o1777)
    tree.add_folder("var/lib/stead/instances")
    tree.add_folder("boot", 0o700)
    for link, target in {
        "bin": "usr/bin", "sbin": "usr/bin", "usr/sbin": "bin", "lib": "usr/lib", "lib64": "usr/lib64",
        "var/run": "../run", "etc/resolv.conf": "../run/resolv.conf", "etc/mtab": "../proc/mounts",
    }.items():  # fmt: skip
        tree.add_link(link, target)
    for name, deb in debs.items():
        add_chosen_files(tree, name, deb)
    busybox = node_at(tree, "usr/bin/busybox")
    # Setuid, so that su works; busybox gives the right up again for all other applets.
    tree.add_file("usr/bin/busybox", busybox.data, 0o4755)
    for applet in list_applets(busybox.data):
        if f"usr/bin/{applet}" not in tree:
            tree.add_link(f"usr/bin/{applet}", "busybox")
    tree.add_contents_of(HERE / "rootfs")
    add_homes(tree)
    return tree


def add_homes(tree: Tree) -> None:
    """Add home folders with empty lists of SSH keys, for root and for the users of ``rootfs/etc/passwd``."""
    homes = {"root": 0} | {f"home/{user}": number for number, user in enumerate(USERS, start=1000)}
    for home, owner in homes.items():
        tree.add_folder(home, 0o700, owner)
        tree.add_folder(f"{home}/.ssh", 0o700, owner)
        tree.add_file(f"{home}/.ssh/authorized_keys", b"", 0o600, owner)


def add_chosen_files(tree: Tree, name: str, deb: Path) -> None:
    """Add what CHOSEN_FILES takes from one package; raise when the package has nothing of a chosen name."""
    chosen = CHOSEN_FILES[name]
    prefixes = tuple(path for path in chosen if path.endswith((".", "/")))
    found: set[str] = set()
    for member, data in read_members(deb, lambda path: path in chosen or path.startswith(prefixes)):
        tree.add_member(member, data)
        found.add(member.name)
    for path in chosen:
        if not any(name == path or (path in prefixes and name.startswith(path)) for name in found):
            raise ImageBuildError(f"{deb.name} has no {path}: CHOSEN_FILES needs a new look")


def node_at(tree: Tree, path: str) -> Node:
    """The node at a path that holds no links."""
    return dict(tree)[path]


def list_applets(busybox: bytes) -> list[str]:
    """Ask a busybox for the names of its programs, by running it."""
    with tempfile.TemporaryDirectory(prefix="stead-micro-") as scratch:
        program = Path(scratch) / "busybox"
        program.write_bytes(busybox)
        program.chmod(stat.S_IRWXU)
        listed = subprocess.run([str(program), "--list"], capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split() if name not in ("busybox", "[[")]


def make_initrd(tree: Tree, modules: dict[str, bytes]) -> bytes:
    """Return the initrd: busybox, the drivers and ``initrd/init``."""
    initrd = Tree()
    busybox = node_at(tree, "usr/bin/busybox").data
    for folder in ("dev", "proc", "sys", "new", "modules", "bin"):
        initrd.add_folder(folder)
    initrd.add_file("bin/busybox", busybox, 0o4755)  # it goes on as the root file system's, see initrd/init
    for applet in ("sh", "mount", "umount", "mkdir", "insmod", "usleep", "ls", "tr", "cat", "dd", "printf", "blockdev"):
        initrd.add_link(f"bin/{applet}", "busybox")
    initrd.add_link("bin/switch_root", "busybox")
    for name, data in modules.items():
        initrd.add_file(f"modules/{name}", data)
    initrd.add_file("init", (HERE / "initrd/init").read_bytes(), 0o755)
    return initrd.to_cpio(TIME)


def main(arguments: Sequence[str]) -> int:
    """Run as a program and return its exit status."""
    return run_as_program("micro", build, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
