"""What guests' processes, each with its own user, may open on the host: their disks, and /dev/kvm."""

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
_ACL: Final = "system.posix_acl_access"
# linux/posix_acl_xattr.h: version 2, then entries of tag, permissions, id; tags of linux/posix_acl.h.
_USER_OBJ, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x08, 0x10, 0x20
_UNDEFINED_ID: Final = 0xFFFFFFFF
_READ_WRITE: Final = 6


def guests_gid(capabilities_xml: str) -> int:
    """Read from libvirt's capabilities the group its guests run in (`+uid:+gid` of the dac security model)."""
    for model in ET.fromstring(capabilities_xml).iterfind("host/secmodel"):  # noqa: S314 (libvirt's own)
        if model.findtext("model") == "dac":
            _uid, _colon, gid = model.findtext("baselabel", "").partition(":")
            if gid.startswith("+") and gid[1:].isdigit():
                return int(gid[1:])
    raise MachineError("libvirt does not run guests as a user of their own (security model dac); see qemu.conf(5)")


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


def allow_kvm(gid: int, device: Path = _KVM) -> None:
    """Let guests' group use KVM: an access list on the device, which libvirt copies into each guest's /dev."""
    mode = device.stat().st_mode
    with contextlib.suppress(OSError):  # no list yet, or a file system without lists: set below, or an error there
        if os.getxattr(device, _ACL) == _acl(mode, gid):
            return
    try:
        os.setxattr(device, _ACL, _acl(mode, gid))
    except OSError as error:
        raise MachineError(f"{device}: guests cannot be let in: {error.strerror}") from error


def _acl(mode: int, gid: int) -> bytes:
    """Render an access list: owner and others as the mode says, the owner's group and `gid` read and write."""
    entries = (
        (_USER_OBJ, mode >> 6 & 7, _UNDEFINED_ID),
        (_GROUP_OBJ, _READ_WRITE, _UNDEFINED_ID),
        (_GROUP, _READ_WRITE, gid),
        (_MASK, _READ_WRITE, _UNDEFINED_ID),
        (_OTHER, mode & 7, _UNDEFINED_ID),
    )
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
