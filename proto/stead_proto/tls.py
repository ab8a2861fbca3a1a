"""Make gRPC credentials from certificate files, and read a peer's kind and name from its certificate.

Stead's own CA (`certificates.py`) signs all certificates. The certificate itself says what its holder may do:

    subject alternative name          used by                    checked by
    stead:host:<host id>              an agent, as a client      the controller, with `peer_of`
    stead:operator:<name>             a person or program        the controller, with `peer_of`
    stead:controller:<id>             a controller, as a client  another controller, with `peer_of`
    <host id>.host.stead.internal     a host, as server          another host that has one of its volumes attached
    subject OU=host, CN=<host id>…    a host, as a client        the home of a volume that it has attached
    controller.stead.internal         the controller, as server  every client, whatever address it dialled
    none: subject OU=attachment, …    a guest's QEMU             the home of the one volume that it names

gRPC checks the extended key usage and the server's name, so no other certificate passes for a controller's. Python's
gRPC requires a client certificate from all clients of a port or from none, so `Enrolment` has a port of its own.
"""

import datetime as dt
import enum
import functools
import ipaddress
import os
import re
import ssl
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

import grpc

from stead_proto import limits

CONTROLLER_NAME: Final = "controller.stead.internal"
_HOST_DOMAIN: Final = "host.stead.internal"
ATTACHMENT_UNIT: Final = "attachment"
ENROLMENT_LENGTH: Final = 16  # of the mark of an enrolment, in hexadecimal digits
_COMMON_NAME_LENGTH: Final = 64  # RFC 5280, appendix A: ub-common-name
_URI_SCHEME: Final = "stead"
_IDENTITY_FILE: Final = "identity.pem"
_CA_FILE: Final = "ca.pem"
# Two times: UTCTime or, from 2050 on, GeneralizedTime.
_VALIDITY: Final = re.compile(rb"(\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)(\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)")
_READ_CERTIFICATES: Final = (
    1024  # of which this is remembered: each is looked at in each session, many by simulated hosts
)
_CERTIFICATE_START: Final = b"-----BEGIN CERTIFICATE-----"


class PeerKind(enum.Enum):
    """The kind of a client certificate's holder."""

    HOST = "host"
    OPERATOR = "operator"
    CONTROLLER = "controller"


class UnknownPeerError(Exception):
    """The peer has no certificate of our CA with a kind and a name."""


class NoIdentityError(Exception):
    """A directory holds no certificate (yet)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection: a host and its id, or an operator and their name."""

    kind: PeerKind
    name: str

    @property
    def uri(self) -> str:
        """The subject alternative name of this peer."""
        return f"{_URI_SCHEME}:{self.kind.value}:{self.name}"

    @staticmethod
    def from_uri(uri: str) -> "Peer":
        """Read a subject alternative name; UnknownPeerError when it is not one of ours."""
        scheme, _, rest = uri.partition(":")
        kind, _, name = rest.partition(":")
        if scheme != _URI_SCHEME or not name or kind not in {each.value for each in PeerKind}:
            raise UnknownPeerError(f"no host and no operator: {uri!r}")
        return Peer(PeerKind(kind), name)


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key, its certificate and the CA that signed it, all PEM."""

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes
    ca_pem: bytes

    @property
    def authorities(self) -> bytes:
        """SHA-256 of the CA's certificates, by which a controller and its hosts know whether they mean the same."""
        return authorities_digest(self.ca_pem)

    @property
    def peer(self) -> Peer:
        """The peer that the certificate names; UnknownPeerError when it is a controller's."""
        der = ssl.PEM_cert_to_DER_cert(self.certificate_pem.decode("ascii"))
        start = der.find(_URI_SCHEME.encode() + b":")
        if start < 0:
            raise UnknownPeerError("a certificate without a name of ours")
        return Peer.from_uri(der[start : start + der[start - 1]].decode("ascii"))  # the length precedes a DER string

    def save(self, directory: Path) -> None:
        """Write the files, readable only by their owner; key and certificate are replaced together or not at all.

        The CA's certificates are last: where they are, the certificate that came with them is.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(directory / _IDENTITY_FILE, self.key_pem + self.certificate_pem)
        write_private(directory / _CA_FILE, self.ca_pem)

    @staticmethod
    def load(directory: Path) -> "Identity":
        """Read what `save` wrote; NoIdentityError when there is nothing."""
        try:
            both = (directory / _IDENTITY_FILE).read_bytes()
            ca_pem = (directory / _CA_FILE).read_bytes()
        except FileNotFoundError as missing:
            raise NoIdentityError(f"no certificate in {directory}") from missing
        start = both.find(_CERTIFICATE_START)
        if start <= 0:
            raise NoIdentityError(f"{directory / _IDENTITY_FILE} holds no key with its certificate")
        return Identity(both[:start], both[start:], ca_pem)


def write_public(path: Path, content: bytes) -> None:
    """As `write_private`, but with mode 0644, and the file is not written if it already has this content."""
    if not path.exists() or path.read_bytes() != content:
        _replace(path, content, 0o644)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one of mode 0600, durably and atomically: a reader sees the old content or the new."""
    _replace(path, content, 0o600)


def _replace(path: Path, content: bytes, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_once(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, durably and atomically, unless it exists: of several processes the first wins."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        Path(temporary).unlink()
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Sync a directory, so that names created or replaced in it survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def host_server_name(host_id: str) -> str:
    """Return the name of a host as a server, which other hosts expect in its certificate, whatever its address."""
    return f"{host_id}.{_HOST_DOMAIN}"


def subject_of_host(host_id: str, enrolment: str = "") -> str:
    """Return the subject of a host's certificate as GnuTLS writes it, by which QEMU authorises the host."""
    return f"OU={PeerKind.HOST.value},CN={common_name(host_id, enrolment)}"


def common_name(host_id: str, enrolment: str) -> str:
    """Return the common name of a host's certificates since it enrolled again as this; empty: since it first did."""
    return f"{host_id}.{enrolment}" if enrolment else host_id


@functools.lru_cache(maxsize=_READ_CERTIFICATES)
def enrolment_of(certificate_pem: bytes, host_id: str) -> str:
    """Return the enrolment by which this host was given its certificate; empty: its first, or an earlier release's."""
    der = ssl.PEM_cert_to_DER_cert(certificate_pem.decode("ascii"))
    found = re.search(rb"\x0c.%b\.([0-9a-f]{%d})" % (re.escape(host_id.encode()), ENROLMENT_LENGTH), der, re.DOTALL)
    return found[1].decode("ascii") if found else ""


def subject_of_attachment(volume_id: str, generation: int, host_id: str) -> str:
    """Return the subject by which the home of a volume authorises the guest's QEMU of one attachment to a host."""
    return f"OU={ATTACHMENT_UNIT},CN={attachment_name(volume_id, generation, host_id)}"


def attachment_name(volume_id: str, generation: int, host_id: str) -> str:
    """Return the common name of an attachment's certificate; ValueError when it is too long for a common name."""
    name = f"{volume_id}.{generation}.{host_id}"
    if len(name) > _COMMON_NAME_LENGTH:
        raise ValueError(f"too long for a certificate: {name}")
    return name


def authorities_digest(ca_pem: bytes) -> bytes:
    """Return the SHA-256 of the certificates of the authorities that are trusted, in their order: the first signs."""
    return sha256(ca_pem).digest()


def certificates_in(pem: bytes) -> list[bytes]:
    """Return the certificates of a PEM file, each PEM without white space around it."""
    return [(_CERTIFICATE_START + part).strip() for part in pem.split(_CERTIFICATE_START)[1:]]


def share_an_authority(one: bytes, other: bytes) -> bool:
    """Tell whether two files with CA certificates have one in common, as those of one cloud have while it changes."""
    return one.strip() == other.strip() or not set(certificates_in(one)).isdisjoint(certificates_in(other))


def renewal_due(certificate_pem: bytes, now: dt.datetime | None = None) -> bool:
    """Tell whether less than a third of a host certificate's lifetime is left, or it has no server name yet."""
    return not _has_server_name(certificate_pem) or ends_soon(certificate_pem, now)


@functools.lru_cache(maxsize=_READ_CERTIFICATES)
def _has_server_name(certificate_pem: bytes) -> bool:
    return f".{_HOST_DOMAIN}".encode() in ssl.PEM_cert_to_DER_cert(certificate_pem.decode("ascii"))


def ends_soon(certificate_pem: bytes, now: dt.datetime | None = None) -> bool:
    """Tell whether less than a third of a certificate's lifetime is left."""
    begin, end = lifetime(certificate_pem)
    return end - (now or dt.datetime.now(dt.UTC)) < (end - begin) / 3


@functools.lru_cache(maxsize=_READ_CERTIFICATES)
def lifetime(certificate_pem: bytes) -> tuple[dt.datetime, dt.datetime]:
    """Return the start and the end of the validity of a certificate of our CA.

    Read from its bytes, to save a running agent a library of 10 MiB for two dates: the validity is the only place in a
    certificate where two times follow each other (RFC 5280, section 4.1).
    """
    found = _VALIDITY.search(ssl.PEM_cert_to_DER_cert(certificate_pem.decode("ascii")))
    if found is None:
        raise NoIdentityError("a certificate without a validity")
    begin, end = (text.decode("ascii")[-13:] for text in found.groups())
    return _utc(begin), _utc(end)


def _utc(text: str) -> dt.datetime:
    """Parse a time such as 261124160000Z."""
    return dt.datetime.strptime("20" + text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)


def _server_configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key_pem, identity.certificate_pem)], root_certificates=identity.ca_pem
    )


def changing_server_credentials(
    present: Callable[[], Identity], *, require_client_auth: bool = True
) -> grpc.ServerCredentials:
    """Credentials of a port that each connection gets as they are at its time; `present` is called by other threads."""
    first = present()
    last = [first]

    def changed() -> grpc.ServerCertificateConfiguration | None:
        identity = present()
        if identity is last[0]:
            return None
        last[0] = identity
        return _server_configuration(identity)

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(first),
        changed,  # type: ignore[arg-type]  # None is allowed: as before
        require_client_authentication=require_client_auth,
    )


def server_credentials(identity: Identity) -> grpc.ServerCredentials:
    """Credentials of a port where every client must present a certificate of our CA."""
    return grpc.ssl_server_credentials(
        [(identity.key_pem, identity.certificate_pem)],
        root_certificates=identity.ca_pem,
        require_client_auth=True,
    )


def enrolment_server_credentials(identity: Identity) -> grpc.ServerCredentials:
    """Credentials of the port for machines that have no certificate yet."""
    return grpc.ssl_server_credentials([(identity.key_pem, identity.certificate_pem)])


def channel_to_controller(address: str, identity: Identity, *, watchful: bool = False) -> grpc.aio.Channel:
    """Open a channel with a client certificate to `address`, where the server must prove to be the controller.

    A `watchful` one breaks when the peer answers no ping for a second. Where it cannot connect it tries again at once,
    a few times a second. Must be called on the event loop that uses the channel.
    """
    credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
    options = [*_named_options(watchful=watchful), *limits.quick_options()]
    return grpc.aio.secure_channel(target(address), credentials, options=options)


def target(address: str) -> str:
    """Return HOST:PORT as gRPC reads it fastest: an address of IPv4 or IPv6 is none of the names that DNS knows."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return f"ipv{ipaddress.ip_address(host).version}:{address}"
    except ValueError:
        return address


def blocking_channel_to_controller(address: str, identity: Identity) -> grpc.Channel:
    """Open such a channel for threads that may block, not for an event loop."""
    credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
    return grpc.secure_channel(address, credentials, options=_named_options())


def channel_to_enrolment(address: str, ca_pem: bytes) -> grpc.aio.Channel:
    """Open a channel without a client certificate to `address`, where the server must prove to be the controller."""
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca_pem), options=_named_options())


def _named_options(*, watchful: bool = False) -> limits.Options:
    """Options of a channel that expects the controller's name, since addresses may change and be translated."""
    return [*limits.channel_options(watchful=watchful), ("grpc.ssl_target_name_override", CONTROLLER_NAME)]


class _Context(Protocol):
    """The needed part of a servicer's context."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """The properties of the peer that gRPC has authenticated."""


class _Connection(Protocol):
    """The part of a servicer's context from which the origin of a call is known."""

    def peer(self) -> str:
        """The peer's address in gRPC's notation."""


def address_of(context: _Connection) -> str:
    """Return the address of a peer, which gRPC writes like `ipv4:192.0.2.1:4711`; empty when it has none."""
    family, _, rest = context.peer().partition(":")
    host = unquote(rest).rpartition(":")[0].strip("[]")
    return host if family in ("ipv4", "ipv6") else ""


def peer_of(context: _Context) -> Peer:
    """Return the caller, from a servicer's context; UnknownPeerError unless the certificate names exactly one peer."""
    uris = list(context.auth_context().get("peer_uri", []))
    if len(uris) != 1:
        raise UnknownPeerError(f"a certificate with {len(uris)} names of ours")
    return Peer.from_uri(uris[0].decode("utf-8", "replace"))
