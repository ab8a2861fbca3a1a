"""Convert addresses into a socket filter: the kernel drops connection attempts of guests with too many connections.

Accepting a connection only to close it costs a third of an answer, so a guest that opens them as fast as it can would
slow its neighbours down even though its requests are rate-limited. Dropped in the kernel, an attempt costs almost
nothing, and the client's TCP tries again after a second. See Linux, Documentation/networking/filter.rst.
"""

import ctypes
import socket
import struct
from collections.abc import Collection
from typing import Final

MAX_ADDRESSES: Final = 1000  # a program has at most 4,096 instructions

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; the socket module has neither constant
_SO_DETACH_FILTER: Final = 27
# Instructions of linux/bpf_common.h.
_LOAD_BYTE: Final = 0x30  # BPF_LD | BPF_B | BPF_ABS
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_BITS: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_JUMP_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_TCP_FLAGS: Final = 13  # a TCP socket's filter sees the packet from its TCP header on
_TCP_SYN: Final = 0x02
_NETWORK_HEADER: Final = 0x100000000 - 0x100000  # SKF_NET_OFF
_IPV4_SOURCE: Final = _NETWORK_HEADER + 12  # the source's offset in the header
_IPV6_SOURCE: Final = _NETWORK_HEADER + 8
_IPV6_WORDS: Final = 4
_ALL: Final = 0xFFFFFFFF

_OPENINGS_ONLY: Final = (
    (_LOAD_BYTE, 0, 0, _TCP_FLAGS),
    (_JUMP_IF_BITS, 1, 0, _TCP_SYN),
    (_RETURN, 0, 0, _ALL),
)


def shut_out(listener: socket.socket, addresses: Collection[str]) -> None:
    """Have the kernel drop connection attempts from these addresses; open connections are not affected.

    The addresses are of the socket's own IP version.

    Replaces the previous filter. Sockets accepted from now on inherit the filter, without effect: only
    packets that open a connection are dropped.
    """
    if not addresses:
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        return
    code = ipv6_program(addresses) if listener.family == socket.AF_INET6 else program(addresses)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, and their address.
    described = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def program(addresses: Collection[str]) -> bytes:
    """Return the filter's instructions (struct sock_filter: code, jump if true, jump if false, operand) for IPv4."""
    steps = [*_OPENINGS_ONLY, (_LOAD_WORD, 0, 0, _IPV4_SOURCE)]
    for address in sorted(addresses)[:MAX_ADDRESSES]:
        number = int.from_bytes(socket.inet_aton(address))
        steps += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, 0)]
    return _written(steps)


def ipv6_program(addresses: Collection[str]) -> bytes:
    """Return them for IPv6: an address is four words, compared one after the other."""
    steps = list(_OPENINGS_ONLY)
    for address in sorted(addresses)[: MAX_ADDRESSES // _IPV6_WORDS]:
        words = struct.unpack("!4I", socket.inet_pton(socket.AF_INET6, address))
        for at, word in enumerate(words):
            left = 2 * (_IPV6_WORDS - at) - 1  # instructions from the comparison to the next address
            steps += [(_LOAD_WORD, 0, 0, _IPV6_SOURCE + 4 * at), (_JUMP_IF_EQUAL, 0, left, word)]
        steps.append((_RETURN, 0, 0, 0))
    return _written(steps)


def _written(steps: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("@HBBI", *step) for step in [*steps, (_RETURN, 0, 0, _ALL)])
