"""Sockets on gateway links, which read and send whole Ethernet frames."""

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Final

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; Python has no name for it


def listening(link: str, ethertype: int, program: Sequence[bytes] = ()) -> socket.socket:
    """Open a socket on a link of this namespace, for all frames of an ethertype, including those it sends itself.

    `program` is a classic BPF filter that makes the kernel drop frames. OSError where there is no such link.
    """
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        if program:  # before it is bound: until then it receives nothing
            code = ctypes.create_string_buffer(b"".join(program))
            packed = struct.pack("@HP", len(program), ctypes.addressof(code))
            wire.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, packed)
        wire.bind((link, ethertype))
    except OSError:
        wire.close()
        raise
    return wire
