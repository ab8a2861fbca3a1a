"""What guests' processes, each with its own user, may open on the host: their disks, /dev/kvm, a TPM; its processor."""

import contextlib
import os
import shutil
import struct
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from stead_agent.disks import disk_users
from stead_agent.disks.disk_sources import Layer, Source
from stead_agent.machines.interface import MachineError

_KVM: Final = Path("/dev/kvm")
_CPUINFO: Final = Path("/proc/cpuinfo")
_ACL: Final = "system.posix_acl_access"
# linux/posix_acl_xattr.h: version 2, then entries of tag, permissions, id; tags of linux/posix_acl.h.
_USER_OBJ, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x08, 0x10, 0x20
_UNDEFINED_ID: Final = 0xFFFFFFFF
_READ_WRITE: Final = 6
_PASS: Final = 1
_ALL: Final = 7


def guests_gid(capabilities_xml: str) -> int:
    """Read from libvirt's capabilities the group its guests run in (`+uid:+gid` of the dac security model)."""
    for model in ET.fromstring(capabilities_xml).iterfind("host/secmodel"):  # noqa: S314 (libvirt's own)
        if model.findtext("model") == "dac":
            _uid, _colon, gid = model.findtext("baselabel", "").partition(":")
            if gid.startswith("+") and gid[1:].isdigit():
                return int(gid[1:])
    raise MachineError("libvirt does not run guests as a user of their own (security model dac); see qemu.conf(5)")


def has_topoext(cpuinfo: Path = _CPUINFO) -> bool:
    """Tell whether guests need the feature `topoext` to see threads, as with processors of AMD."""
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    return any("topoext" in line.split() for line in lines if line.startswith("flags"))


def give_disk(source: Source, base: Layer | None, uid: int) -> None:
    """Make a guest's user the only owner of a disk, and let it read the disk's base; see `disk_users`."""
    try:
        disk_users.give(source, uid)
        if base is not None:
            disk_users.allow_read(base.source, uid)
    except disk_users.DiskAccessError as error:
        raise MachineError(str(error)) from error


def make_private(directory: Path, uid: int) -> None:
    """Create an empty directory that only a guest's user may access.

    All guests are in one group, and QEMU lets its group use its sockets: the directory separates guests.
    """
    remove_private(directory)
    directory.parent.mkdir(mode=0o711, exist_ok=True)
    directory.mkdir(mode=0o700)
    os.chown(directory, uid, 0)


def remove_private(directory: Path) -> None:
    """Remove a guest's directory; symbolic links that it may have put there are not followed."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return


def write_private(path: Path, content: bytes, uid: int) -> None:
    """Write a file that only a user may access, whole and synced, in the place of an earlier one.

    Zeros at its end take no room: of an arm64 guest's UEFI variables these are 63 MiB.
    """
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)  # left by an interrupted write
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content.rstrip(b"\0"))
        file.truncate(len(content))
        os.fchown(file.fileno(), uid, 0)
        os.fsync(file.fileno())
    beside.replace(path)


def allow_kvm(gid: int, device: Path = _KVM) -> None:
    """Let guests' group use KVM: an access list on the device, which libvirt copies into each guest's /dev."""
    mode = device.stat().st_mode
    _allow_access(device, _acl(mode, gid, group=_READ_WRITE, guests=_READ_WRITE))


def allow_tpms(gid: int, folder: Path) -> None:
    """Let guests' group pass through the folder of the TPMs' sockets, of which each guest's user has its own."""
    folder.mkdir(mode=0o770, exist_ok=True)  # libvirt sets its owner, and its mode again at each start of a TPM
    _allow_access(folder, _acl(folder.stat().st_mode, gid, group=_ALL, guests=_PASS))


def _allow_access(path: Path, wanted: bytes) -> None:
    """Set an access list unless it is there."""
    with contextlib.suppress(OSError):  # no list yet, or a file system without lists: set below, or an error there
        if os.getxattr(path, _ACL) == wanted:
            return
    try:
        os.setxattr(path, _ACL, wanted)
    except OSError as error:
        raise MachineError(f"{path}: guests cannot be let in: {error.strerror}") from error


def _acl(mode: int, gid: int, *, group: int, guests: int) -> bytes:
    """Render an access list: owner and others as the mode says, the owner's group and `gid` as given."""
    entries = (
        (_USER_OBJ, mode >> 6 & 7, _UNDEFINED_ID),
        (_GROUP_OBJ, group, _UNDEFINED_ID),
        (_GROUP, guests, gid),
        (_MASK, group, _UNDEFINED_ID),
        (_OTHER, mode & 7, _UNDEFINED_ID),
    )
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
