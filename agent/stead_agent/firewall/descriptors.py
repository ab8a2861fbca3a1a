"""Low file descriptor numbers, reserved for libnftables.

libnftables waits for the kernel's answer with select(2), and a socket of number 1024 or more makes select abort the
process. A busy agent has more open files than that: guests can open many connections to the metadata service. So some
low numbers are held by an unused file, and one is released just before a context takes it.
"""

import contextlib
import os
import socket
import stat
from collections.abc import Callable
from typing import Final

from stead_agent.firewall.interface import FirewallError

_FIRST_TOO_HIGH: Final = 1024  # FD_SETSIZE
_HELD: Final = 32  # more than there are contexts at a time
_TRIES: Final = 16
_NETLINK_NETFILTER: Final = 12


class LowDescriptors:
    """Holds low numbers; not thread-safe."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def hold(self) -> None:
        """Reserve low numbers while there are some."""
        while len(self._held) < _HELD:
            number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            if number >= _FIRST_TOO_HIGH:
                os.close(number)
                return
            self._held.append(number)

    def with_low_socket(self, make: Callable[[], int], undo: Callable[[int], None]) -> int:
        """Call `make`, which opens one netfilter socket, so that its number is low; try again if it was not."""
        for _ in range(_TRIES):
            expected = self._held.pop() if self._held else _FIRST_TOO_HIGH
            if expected < _FIRST_TOO_HIGH:
                os.close(expected)  # the next file takes the lowest free number: open(2)
            made = make()
            # Another thread may have taken it first.
            numbers = [expected] if _is_fresh(expected) else _fresh_netfilter_sockets()
            for number in numbers:
                os.set_inheritable(number, False)
            if numbers and max(numbers) < _FIRST_TOO_HIGH:
                return made
            undo(made)
        raise FirewallError("no low file descriptor is free for nftables: too many VPCs on this host, or open files")


def _fresh_netfilter_sockets() -> list[int]:
    """Find the netfilter sockets that programs we start would inherit: those that libnftables has just opened.

    It opens them without SOCK_CLOEXEC and does not return their numbers. If another program inherited one and outlived
    us, it would still own our tables.
    """
    return [int(name) for name in os.listdir("/proc/self/fd") if _is_fresh(int(name))]  # noqa: PTH208 - numbers


def _is_fresh(number: int) -> bool:
    with contextlib.suppress(OSError):  # not open
        if stat.S_ISSOCK(os.fstat(number).st_mode) and os.get_inheritable(number):
            candidate = socket.socket(fileno=number)
            is_netfilter = (candidate.family, candidate.proto) == (socket.AF_NETLINK, _NETLINK_NETFILTER)
            candidate.detach()
            return is_netfilter
    return False
