#!/usr/bin/env python3
"""Debian's cloud kernel, busybox and dropbear become micro.qcow2, an image that boots in seconds under emulation.

Run as a program, or call ``build``. What the guest does at boot is in ``initrd/init`` and ``rootfs/usr/lib/stead``.
"""

import lzma
import re
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from images import disk, syslinux
from images.architectures import X86_64, Architecture
from images.command_line import run_as_program
from images.disk import DiskPlan, Kernel, build_disk
from images.efi import read_loaders
from images.packages import ImageBuildError, PackageCache, read_members, require_tools
from images.tree import Node, Tree

HERE = Path(__file__).resolve().parent
TIME = 1_760_000_000
"""Every time stamp in the image (seconds since 1970): the same inputs give the same bytes."""

_PROGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "busybox-static": ("usr/bin/busybox",),
    "dropbear-bin": ("usr/sbin/dropbear", "usr/bin/dropbearkey"),
    "e2fsprogs": ("usr/sbin/mke2fs", "usr/sbin/mkfs.ext4", "usr/sbin/resize2fs", "etc/mke2fs.conf"),
}
_LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "libcrypt1": ("libcrypt",),
    "libtomcrypt1": ("libtomcrypt",),
    "libtommath1": ("libtommath",),
    "libgmp10": ("libgmp",),
    "zlib1g": ("libz",),
    "libext2fs2t64": ("libext2fs", "libe2p"),
    "libcom-err2": ("libcom_err",),
    "libblkid1": ("libblkid",),
    "libuuid1": ("libuuid",),
}

EARLY_MODULES = ("drivers/block/virtio_blk", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net")
"""Drivers not built into the kernel that ``initrd/init`` loads, in this order."""

LATE_MODULES = ("drivers/acpi/button", "drivers/input/evdev", "drivers/char/hw_random/virtio-rng")
"""Drivers that ``rootfs/usr/lib/stead/power-button`` loads, where they are not built into the kernel."""

USERS = ("ec2-user", "debian", "admin", "ubuntu")
"""Users beside root, numbered from 1000, as in ``rootfs/etc/passwd``."""

MOUNT_POINTS = ("dev", "proc", "sys", "run", "mnt")

FIRST_APPLETS = b"[\0[[\0acpid\0"
"""How busybox's table of its programs begins: names with a zero byte after each, and one more at the end."""

TOOLS = {**disk.TOOLS, **syslinux.TOOLS, "apt-get": "apt", "dpkg-deb": "dpkg"}
APT_PACKAGES = tuple(sorted(set(TOOLS.values())))
"""Debian packages with the programs that a build needs on the building machine."""


def plan_disk(architecture: Architecture = X86_64) -> DiskPlan:
    """Return what the disk is to be: where there is a BIOS, the kernel is in the EFI system partition."""
    boot, system_mib = ("", 23) if architecture.has_bios else ("/boot", 7)
    return DiskPlan(
        size_mib=96,
        label="stead-micro",
        identity=uuid.UUID("5ead0000-6d69-4372-8f00-000000000001"),
        time=TIME,
        bytes_per_inode=16384,
        journal_mib=4,
        kernel=f"{boot}/vmlinuz",
        initrd=f"{boot}/initrd",
        command_line=(
            f"{architecture.consoles} quiet net.ifnames=0 mitigations=off no_timer_check cryptomgr.notests "
            "noreplace-smp no5lvl random.trust_cpu=on lsm=capability initcall_blacklist=jent_mod_init panic=5"
        ),
        system_mib=system_mib,
    )


def chosen_files(architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """Return packages with the files taken from each; a name that ends in a dot or slash stands for all with it."""
    libraries = architecture.libraries
    linker = (f"{libraries}{architecture.linker}", architecture.linker_link)
    return _PROGRAMS | {"libc6": (*linker, f"{libraries}libc.so.6")} | {
        package: tuple(f"{libraries}{name}.so." for name in names) for package, names in _LIBRARIES.items()
    }  # fmt: skip


def build(output: Path, cache: Path, say: Callable[[str], None], architecture: Architecture = X86_64) -> None:
    """Write the image to ``output``, keeping packages in ``cache``; ``say`` is told each step.

    Raise ImageBuildError when a tool or a package is missing.
    """
    require_tools(TOOLS)
    say("packages: ask apt, download what the cache lacks")
    store = PackageCache(cache, architecture.debian)
    kernel_name = find_kernel(store, architecture)
    chosen = chosen_files(architecture)
    debs = store.fetch([kernel_name, *chosen])
    say(f"kernel: {debs[kernel_name].name}")
    kernel, modules = read_kernel(debs[kernel_name])
    say("root file system: put together")
    tree = make_tree({debs[name]: files for name, files in chosen.items()})
    boot = Kernel(kernel, make_initrd(tree, {name: modules[name] for name in names_of(EARLY_MODULES)}))
    if not architecture.has_bios:
        tree.add_file("boot/vmlinuz", boot.image)
        tree.add_file("boot/initrd", boot.initrd)
    for name in sorted(set(modules) & set(names_of(LATE_MODULES))):
        tree.add_file(f"usr/lib/stead/modules/{name}", modules[name])
    tree.add_file("etc/stead-micro-packages", "".join(f"{deb.stem}\n" for deb in sorted(debs.values())).encode())
    say("disk: file system, boot loader, qcow2")
    with tempfile.TemporaryDirectory(prefix="stead-micro-") as scratch:
        tar = Path(scratch) / "root.tar"
        tree.write_tar(tar, TIME)
        loaders = read_loaders(store, architecture)
        build_disk(tar, plan_disk(architecture), loaders, output, boot if architecture.has_bios else None)
    say(f"done: {output} ({output.stat().st_size / 1e6:.1f} MB)")


def find_kernel(store: PackageCache, architecture: Architecture = X86_64) -> str:
    """Return the name of the kernel package that Debian's meta package stands for now, or the newest cached one."""
    meta = store.find_candidates([architecture.kernel]).get(architecture.kernel)
    if meta is not None:
        return next(name for name in meta.depends if name.startswith("linux-image-"))
    names = {path.name.split("_")[0] for path in store.cached(f"linux-image-*-cloud-{architecture.debian}")}
    if not names:
        raise ImageBuildError(f"apt does not know {architecture.kernel} and no kernel is cached: run apt-get update")
    return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def read_kernel(deb: Path) -> tuple[bytes, dict[str, bytes]]:
    """Return the kernel, and each early or late driver that is not built in by file name (``virtio_blk.ko``)."""
    kernel = b""
    modules: dict[str, bytes] = {}
    built_in: set[str] = set()
    wanted = tuple(f"/kernel/{module}.ko.xz" for module in EARLY_MODULES + LATE_MODULES)
    wanted += ("/modules.builtin",)
    for member, data in read_members(deb, lambda path: path.startswith("boot/vmlinuz-") or path.endswith(wanted)):
        if member.name.startswith("boot/vmlinuz-"):
            kernel = data
        elif member.name.endswith("/modules.builtin"):
            built_in = {Path(line).name for line in data.decode().split()}
        else:
            modules[Path(member.name).name.removesuffix(".xz")] = lzma.decompress(data)
    missing = set(names_of(EARLY_MODULES + LATE_MODULES)) - set(modules) - built_in
    if missing or not kernel:
        raise ImageBuildError(
            f"{deb.name} lacks {', '.join(missing) or 'a kernel'}: the lists of modules are out of date"
        )
    return kernel, modules


def names_of(modules: Sequence[str]) -> list[str]:
    """File names of drivers given by their places in the kernel's source (``virtio_blk.ko``)."""
    return [f"{Path(module).name}.ko" for module in modules]


def make_tree(chosen: Mapping[Path, Sequence[str]]) -> Tree:
    """Put what is chosen of each package, busybox's links and our own files into one tree, all programs in usr/bin."""
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
    for deb, files in chosen.items():
        add_chosen_files(tree, deb, files)
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


def add_chosen_files(tree: Tree, deb: Path, chosen: Sequence[str]) -> None:
    """Add what is chosen of one package; raise when the package has nothing of a chosen name."""
    prefixes = tuple(path for path in chosen if path.endswith((".", "/")))
    found: set[str] = set()
    for member, data in read_members(deb, lambda path: path in chosen or path.startswith(prefixes)):
        tree.add_member(member, data)
        found.add(member.name)
    for path in chosen:
        if not any(name == path or (path in prefixes and name.startswith(path)) for name in found):
            raise ImageBuildError(f"{deb.name} has no {path}: chosen_files needs a new look")


def node_at(tree: Tree, path: str) -> Node:
    """The node at a path that holds no links."""
    return dict(tree)[path]


def list_applets(busybox: bytes) -> list[str]:
    """Read the names of a busybox's programs from its table of them, since it may be of another architecture."""
    begin = busybox.find(FIRST_APPLETS)
    names = busybox[begin : busybox.find(b"\0\0", begin)].decode("ascii", "replace").split("\0")
    if begin < 0 or "sh" not in names:
        raise ImageBuildError("busybox has no table of its programs where it was: list_applets needs a new look")
    return [name for name in names if name not in ("busybox", "[[")]


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
