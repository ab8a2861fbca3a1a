"""Listen inside a network namespace without moving the process there."""

import os
import socket
import threading
from pathlib import Path
from typing import Final

from stead_agent.metadata.interface import MetadataError

_BACKLOG: Final = 1024
_DEFER_SECONDS: Final = 5
_IP_FREEBIND: Final = 15  # linux/in.h; the socket module has neither constant
_IPV6_FREEBIND: Final = 78  # linux/in6.h


def listen_in(namespace: Path, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Open a listening socket inside a namespace; it stays there and keeps the namespace alive until it is closed.

    A thread of its own enters the namespace and ends: setns(2) moves only the calling thread.
    """
    made: list[socket.socket | OSError] = []

    def enter_and_listen() -> None:
        try:
            file = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.setns(file, os.CLONE_NEWNET)
            finally:
                os.close(file)
            made.append(_listen(address, port, kind))
        except OSError as failure:
            made.append(failure)

    thread = threading.Thread(target=enter_and_listen, name="metadata-listen")
    thread.start()
    thread.join()
    result = made[0]
    if isinstance(result, OSError):
        raise MetadataError(f"cannot listen at {address}:{port} in {namespace}: {result}") from result
    return result


def _listen(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Open a listening socket in the current namespace; the address may become local later."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if kind == socket.SOCK_DGRAM:
            sock.bind((address, port))
            return sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by accepted sockets: the second of two quick answers must not wait for the client's delayed ACK.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Connections without data wait in the kernel, and accepted ones can usually be answered without epoll.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_SECONDS)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
