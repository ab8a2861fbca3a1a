"""Checks whether an NBD server of another host is there, and whether it admits our certificate to an export.

The server must prove by its own certificate to be that host; TLS begins with the protocol's `NBD_OPT_STARTTLS`.
"""

import os
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from stead_proto.nbd import wire
from stead_proto.nbd.wire import NbdError
from stead_proto.tls import Identity

_OPTION_STARTTLS: Final = 5


class NotAdmittedError(NbdError):
    """The server is there and does not admit this certificate, or has no such export."""


@dataclass(frozen=True, slots=True)
class Server:
    """The address of an NBD server, and the name that its certificate must have."""

    address: str
    port: int
    name: str = ""


def is_there(server: Server, seconds: float) -> None:
    """Return when a server with TLS answers; raises NbdError."""
    try:
        with socket.create_connection((server.address, server.port), timeout=seconds) as plain:
            _begin(plain)
    except OSError as error:
        raise NbdError(f"{server.address} port {server.port}: {error}") from error


def size_of(server: Server, export: str, identity: Identity, seconds: float) -> int:
    """Return the size of an export, with this certificate; raises NbdError, NotAdmittedError."""
    context = _context(identity)
    where = f"{server.address} port {server.port}"
    try:
        with socket.create_connection((server.address, server.port), timeout=seconds) as plain:
            _begin(plain)
            # A server that refuses the certificate ends the connection, with TLS 1.3 after the handshake.
            with context.wrap_socket(plain, server_hostname=server.name) as secured:
                return _ask(secured, export)
    except TimeoutError as error:
        raise NbdError(f"{where}: {error}") from error
    except ssl.SSLCertVerificationError as error:
        raise NbdError(f"{where} is not {server.name}: {error.verify_message}") from error
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError, EOFError) as error:
        raise NotAdmittedError(f"{where} does not let us in: {error}") from error
    except OSError as error:
        raise NbdError(f"{where}: {error}") from error


def _begin(plain: socket.socket) -> None:
    """Do the handshake up to the point where TLS begins."""
    try:
        first, second, flags = wire.GREETING.unpack(_receive(plain, wire.GREETING.size))
        if (first, second) != (wire.GREETING_MAGIC, wire.OPTION_MAGIC) or not flags & wire.FIXED_NEWSTYLE:
            raise NbdError("no NBD server of the fixed newstyle answers")
        plain.sendall(wire.CLIENT_FLAGS.pack(flags & (wire.FIXED_NEWSTYLE | wire.NO_ZEROES)))
        plain.sendall(wire.pack_option(_OPTION_STARTTLS, b""))
        kind, _content = _reply(plain, _OPTION_STARTTLS)
    except EOFError as error:
        raise NbdError(str(error)) from error
    if kind != wire.REPLY_ACK:
        raise NbdError("the server does not speak TLS")


def _ask(secured: socket.socket, export: str) -> int:
    """Ask for the size of an export."""
    secured.sendall(wire.pack_option(wire.OPTION_INFO, wire.pack_go(export)))
    size = None
    for _ in range(64):
        kind, content = _reply(secured, wire.OPTION_INFO)
        if kind & wire.REPLY_ERROR:
            raise NotAdmittedError(f"{export} is not served here")
        if kind == wire.REPLY_ACK:
            break
        if len(content) == wire.INFO_EXPORT.size and int.from_bytes(content[:2], "big") == wire.KIND_EXPORT:
            _kind, size, _flags = wire.INFO_EXPORT.unpack(content)
    if size is None:
        raise NbdError("the server does not tell the size of the disk")
    return int(size)


def _reply(stream: socket.socket, option: int) -> tuple[int, bytes]:
    """Receive one reply to an option: its kind and content."""
    magic, answered, kind, length = wire.OPTION_REPLY.unpack(_receive(stream, wire.OPTION_REPLY.size))
    if magic != wire.OPTION_REPLY_MAGIC or answered != option or length > wire.LONGEST_OPTION:
        raise NbdError("an answer to another option than the one sent")
    return kind, _receive(stream, length)


def _receive(stream: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        piece = stream.recv(length - len(received))
        if not piece:
            raise EOFError("the server has gone")
        received += piece
    return received


def _context(identity: Identity) -> ssl.SSLContext:
    """Trust only our CA, and present the certificate; its key is in no file, as OpenSSL reads it from memory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=identity.ca_pem.decode("ascii"))
    handle = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(identity.key_pem + identity.certificate_pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
    return context
