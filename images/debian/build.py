#!/usr/bin/env python3
"""Debian 13 with cloud-init becomes debian.qcow2, from the apt sources that the building machine has.

Run as a program, or call ``build``; needs root, as mmdebstrap then makes a chroot. What is configured in the image is
in ``rootfs`` (files as they are) and ``customize`` (what must be done inside).
"""

import hashlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from images import disk, grub
from images.apt_sources import AptSource, find_sources, newest_date, travelling_options
from images.architectures import X86_64, Architecture
from images.command_line import run_as_program
from images.disk import DiskPlan, build_disk
from images.efi import read_loaders
from images.packages import ImageBuildError, PackageCache, require_tools, run
from images.tree import rewrite_as_gnu_tar

HERE = Path(__file__).resolve().parent
RELEASE = "trixie"
TIME = 1_760_000_000
"""Time stamps when apt's lists do not tell a better one."""

PACKAGES = (
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "curl",
    "dbus",
    "e2fsprogs",
    "fdisk",
    "iproute2",
    "iputils-ping",
    "less",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "netbase",
    "openssh-server",
    "procps",
    "qemu-guest-agent",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "tiny-initramfs",
    "udev",
    "udhcpc",
    "vim-tiny",
)
"""What is in the image, beside what these need and what Debian calls essential; recommended packages are not."""

DPKG_EXCLUDES = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")

TOOLS = {**disk.TOOLS, **grub.TOOLS, "mmdebstrap": "mmdebstrap", "apt-get": "apt"}
APT_PACKAGES = tuple(sorted(set(TOOLS.values())))
"""Debian packages with the programs that a build needs on the building machine."""


def plan_disk(time: int) -> DiskPlan:
    """Return the disk's plan; all is fixed but the time stamps."""
    return DiskPlan(
        size_mib=1024,
        label="debian",
        identity=uuid.UUID("5ead0000-6465-4269-8e00-000000000013"),
        time=time,
        bytes_per_inode=16384,
        journal_mib=16,
        kernel="/vmlinuz",
        initrd="/initrd.img",
        command_line=(
            "root=/dev/vda1 rw console=tty0 console=ttyS0 quiet net.ifnames=0 mitigations=off no_timer_check "
            "cryptomgr.notests random.trust_cpu=on initcall_blacklist=jent_mod_init panic=5"
        ),
    )


def build(output: Path, cache: Path, say: Callable[[str], None], architecture: Architecture = X86_64) -> None:
    """Write the image to ``output``; ``say`` is told each step.

    A copy is kept in ``cache``: when the packages cannot be had, the image last built from this same recipe is given.
    Raise ImageBuildError when a tool is missing, when there is no such copy either, or for another architecture.
    """
    require_tools(TOOLS)
    if architecture is not X86_64:
        raise ImageBuildError(
            f"debian is built for {X86_64.name} alone, since its packages' scripts run in it here: "
            f"import Debian's own cloud image for {architecture.name} instead"
        )
    if os.geteuid() != 0:
        raise ImageBuildError("building debian needs root: mmdebstrap makes a chroot")
    sources = find_sources(RELEASE)
    cached = cache / f"debian-{recipe_hash()}.qcow2"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stead-debian-", dir=cache) as scratch:
        tar = Path(scratch) / "root.tar"
        time = newest_date(sources, TIME)
        say("root file system: mmdebstrap, one to three minutes")
        try:
            make_root(tar, sources, time)
        except ImageBuildError as failure:
            if not cached.exists():
                raise
            reason = next((line for line in str(failure).splitlines() if line.startswith("E: ")), "mmdebstrap failed")
            say(f"the image last built from this recipe is taken, since: {reason}")
        else:
            say("disk: file system, boot loader, qcow2")
            gnu_tar = tar.with_suffix(".gnu.tar")
            rewrite_as_gnu_tar(tar, gnu_tar)
            build_disk(gnu_tar, plan_disk(time), read_loaders(PackageCache(cache), architecture), cached)
            for older in set(cache.glob("debian-*.qcow2")) - {cached}:
                older.unlink()
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f".{output.name}.new")
    shutil.copyfile(cached, beside)
    beside.replace(output)
    say(f"done: {output} ({output.stat().st_size / 1e6:.1f} MB)")


def make_root(tar: Path, sources: Sequence[AptSource], time: int) -> None:
    """Write the root file system as a tar, every time stamp at most ``time``."""
    hooks = [
        # The initrd is made when the kernel is installed, so its configuration comes before.
        f'--essential-hook=cp -r --preserve=mode "{HERE}/before-packages/." "$1"',
        f'--customize-hook="{HERE}/customize" "$1" "{HERE}/rootfs"',
    ]
    run(
        [
            "mmdebstrap", "--mode=root", "--variant=apt", "--architectures=amd64", "--format=tar",
            f"--include={','.join(PACKAGES)}",
            *(f"--aptopt={option}" for option in travelling_options()),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in DPKG_EXCLUDES),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *hooks, RELEASE, str(tar), *(source.line for source in sources),
        ],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(time), "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def recipe_hash() -> str:
    """Return a name for all that decides what is built, except the versions of packages."""
    digest = hashlib.sha256()
    for path in sorted([*HERE.rglob("*"), *HERE.parent.glob("*.py")]):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(HERE.parent)} {path.stat().st_mode & 0o100}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def main(arguments: Sequence[str]) -> int:
    """Run as a program and return its exit status."""
    return run_as_program("debian", build, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
