"""Recreates a tap that was deleted under a running guest, on the file that its QEMU has open, which stays usable.

So the guest notices only lost packets. Its nic cannot be detached instead: QEMU, and the guest with it, ends when it
has to configure a missing tap (seen with QEMU 10), which also happens at a guest's reboot. The new tap is like
libvirt's, but not in its bridge yet: the network's reconciliation adds it as soon as the tap appears. Offloads are not
restored until the guest's driver requests them again: the kernel does that work meanwhile.
"""

import contextlib
import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from stead_agent.machines import monitor
from stead_agent.machines.interface import MachineError
from stead_agent.programs import processes

_TUN: Final = (10, 200)  # /dev/net/tun: Documentation/admin-guide/devices.txt
_TUNSETIFF, _TUNGETIFF, _TUNSETVNETHDRSZ = 0x400454CA, 0x800454D2, 0x400454D8  # linux/if_tun.h
_TAP, _NO_PI, _VNET_HDR, _NEW_ONLY = 0x0002, 0x1000, 0x4000, 0x8000  # IFF_…; the last is IFF_TUN_EXCL
_HEADER_BYTES: Final = 12  # of the header before a packet, as in virtio 1.0 (section 5.1.6)
_SIOCSIFHWADDR: Final = 0x8924
_ETHERNET: Final = 1  # ARPHRD_ETHER
_REQUEST: Final = struct.Struct("16sH22x")  # struct ifreq with flags
_ADDRESS: Final = struct.Struct("16sH6s16x")  # struct ifreq with a hardware address
_NETDEV: Final = re.compile(r"macaddr=(?P<mac>[0-9a-f:]{17})\s+\\ \S+: index=0,type=tap,fd=(?P<fd>[0-9]{1,6})\s")


def numbers_of(shown: str) -> dict[str, int]:
    r"""Parse from QEMU's `info network` the file descriptor of each nic's tap, by MAC address."""
    return {found["mac"]: int(found["fd"]) for found in _NETDEV.finditer(f"{shown}\n")}


def make_anew(domain: Any, process: int | None, taps: Mapping[str, str]) -> None:
    """Recreate the missing taps of a domain; `taps` has their names by MAC address.

    `process` is a pidfd of its QEMU. Raises MachineError.
    """
    if process is None:
        raise MachineError("QEMU has ended")
    shown = monitor.execute(domain, "human-monitor-command", {"command-line": "info network"})
    numbers = numbers_of(shown)
    for mac, tap in missing(taps).items():
        if mac not in numbers:
            raise MachineError(f"QEMU shows no tap of {mac}")
        try:
            _attach(processes.take_file(process, numbers[mac]), tap)
            _set_address(tap, mac)
        except OSError as error:
            raise MachineError(f"{tap} was not made anew: {error}") from error


def _attach(file: int, tap: str) -> None:
    """Attach a new tap to the file of a deleted one; closes our descriptor."""
    try:
        found = os.fstat(file)
        if (os.major(found.st_rdev), os.minor(found.st_rdev)) != _TUN:
            raise MachineError(f"{tap} was not made anew: what QEMU has open is none")
        if _has_link(file):
            return
        flags = _TAP | _NO_PI | _VNET_HDR | _NEW_ONLY
        fcntl.ioctl(file, _TUNSETIFF, _REQUEST.pack(tap.encode(), flags))
        fcntl.ioctl(file, _TUNSETVNETHDRSZ, struct.pack("i", _HEADER_BYTES))
    finally:
        os.close(file)


def _has_link(file: int) -> bool:
    with contextlib.suppress(OSError):  # EBADFD: its link is gone
        fcntl.ioctl(file, _TUNGETIFF, bytes(_REQUEST.size))
        return True
    return False


def _set_address(tap: str, mac: str) -> None:
    """Give the host's end a high MAC address, as libvirt does: a bridge takes the lowest one of its ports."""
    address = b"\xfe" + bytes.fromhex(mac.replace(":", ""))[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFHWADDR, _ADDRESS.pack(tap.encode(), _ETHERNET, address))


def missing(taps: Mapping[str, str]) -> dict[str, str]:
    """Return the missing taps of the nics, by MAC address."""
    return {mac: tap for mac, tap in taps.items() if not _is_link(tap)}


def _is_link(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True
