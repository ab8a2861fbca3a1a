"""A socket filter for dnsmasq: a guest may use DHCP for its own MAC address only.

dnsmasq uses the MAC address inside the message and not that of the sender. One guest could decline its neighbour's
address, and dnsmasq would then assign it to no client for ten minutes (DHCPDECLINE; confirmed by a test). The
firewall binds the sender's MAC address to its tap; this filter compares the message's with the sender's.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stead_agent.programs import processes

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_DHCP_SERVER_PORT: Final = 67

# Instructions of linux/bpf_common.h.
_LOAD_WORD, _LOAD_HALF = 0x20, 0x28  # BPF_LD | BPF_ABS
_SAVE, _LOAD_SAVED = 0x07, 0x87  # BPF_MISC | BPF_TAX, BPF_TXA
_JUMP_IF_SAVED, _JUMP_IF = 0x1D, 0x15  # BPF_JMP | BPF_JEQ | BPF_X, BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALL: Final = 0xFFFFFFFF

_SENDER: Final = 0x100000000 - 0x200000 + 6  # SKF_LL_OFF + the source's place in an Ethernet header
_CLIENT: Final = 8 + 28  # a UDP socket's filter sees the packet from its UDP header on; chaddr of RFC 2131 section 2

# (code, jump if true, jump if false, operand). A packet too short for a load is dropped.
PROGRAM: Final = (
    (_LOAD_WORD, 0, 0, _SENDER),
    (_SAVE, 0, 0, 0),
    (_LOAD_WORD, 0, 0, _CLIENT),
    (_JUMP_IF_SAVED, 0, 4, 0),  # the first four bytes differ: check whether the sender is all zeros
    (_LOAD_HALF, 0, 0, _SENDER + 4),
    (_SAVE, 0, 0, 0),
    (_LOAD_HALF, 0, 0, _CLIENT + 4),
    (_JUMP_IF_SAVED, 5, 4, 0),
    (_LOAD_SAVED, 0, 0, 0),
    (_JUMP_IF, 0, 2, 0),
    (_LOAD_HALF, 0, 0, _SENDER + 4),
    (_JUMP_IF, 1, 0, 0),  # six zero bytes: the loopback link, so our own DHCPRELEASE
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _ALL),
)


def guard(pid: int) -> None:
    """Attach the filter to the DHCP socket of a running server; may be repeated."""
    code = b"".join(struct.pack("@HBBI", *step) for step in PROGRAM)
    buffer = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(PROGRAM), ctypes.addressof(buffer))  # struct sock_fprog
    with _dhcp_socket(pid) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


@contextmanager
def _dhcp_socket(pid: int) -> Iterator[socket.socket]:
    """Duplicate the socket on which a process receives DHCP requests."""
    process = os.pidfd_open(pid)
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if not str(link.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=processes.take_file(process, int(link.name))) as sock:
                if sock.family == socket.AF_INET and sock.getsockname()[1] == _DHCP_SERVER_PORT:
                    yield sock
                    return
    finally:
        os.close(process)
    raise OSError(f"process {pid} does not hear DHCP")
