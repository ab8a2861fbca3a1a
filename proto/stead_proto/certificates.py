"""Stead's own CA: it signs certificates of controllers, hosts and operators.

A module apart from `tls.py`, because a running agent does not need it and saves the 10 MiB of `cryptography`.
Keys are ECDSA on P-256, which every gRPC accepts; only the key of identity documents is RSA, as their readers expect.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stead_proto import limits
from stead_proto.tls import (
    ATTACHMENT_UNIT,
    CONTROLLER_NAME,
    Identity,
    Peer,
    PeerKind,
    UnknownPeerError,
    attachment_name,
    certificates_in,
    common_name,
    host_server_name,
    write_once,
)

CA_VALIDITY: Final = dt.timedelta(days=3650)
VALIDITY: Final = dt.timedelta(days=397)
CLOCK_TOLERANCE: Final = dt.timedelta(days=1)
"""Certificates begin this long before they are made, for machines whose clock is behind."""

AUTHORITY_FILE: Final = "authority.pem"
NEXT_FILE: Final = "next-authority.pem"
"""Key and certificate of an authority that is trusted already, and will sign."""
FORMER_FILE: Final = "former-authority.pem"
"""The certificate of an authority that is trusted still, and signs no more."""
_CURVE: Final = ec.SECP256R1
_CERTIFICATE_START: Final = b"-----BEGIN CERTIFICATE-----"


class BadSigningRequestError(ValueError):
    """A certificate signing request that is invalid or not for a P-256 key."""


def new_signing_request(common_name: str) -> tuple[bytes, bytes]:
    """Make a private key and a signing request for its public key: both PEM."""
    key = ec.generate_private_key(_CURVE())
    return _key_pem(key), signing_request(_key_pem(key), common_name)


def signing_request(key_pem: bytes, common_name: str) -> bytes:
    """Make a signing request for the public key of this private key."""
    key = _load_key(key_pem)
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


class Authority:
    """The key that signs all certificates of one cloud, and the certificates of the keys that are trusted."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, also_trusted: Sequence[bytes] = ()
    ) -> None:
        """Store the pair, and other authorities' certificates, PEM; see `create` and `load_or_create`."""
        self._hold(key, certificate, also_trusted)

    @classmethod
    def create(cls, name: str = "Stead CA") -> "Authority":
        """Make a new authority in memory."""
        key = ec.generate_private_key(_CURVE())
        now = _now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_TOLERANCE)
            .not_valid_after(now + CA_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def load_or_create(cls, directory: Path) -> "Authority":
        """Read the authority of a directory, or create it; several processes that do so get the same one."""
        path = directory / AUTHORITY_FILE
        if not path.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            cls.create().save_once(path)
        return cls(*_read_authority(directory))

    def save_once(self, path: Path) -> None:
        """Write key and certificate to one file of mode 0600, unless another process was first."""
        write_once(path, _key_pem(self._pair[0]) + self.certificate_pem)

    def read_again(self, directory: Path) -> None:
        """Sign and trust from now on as the directory says, for all that hold this object."""
        self._hold(*_read_authority(directory))

    def _hold(
        self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, also_trusted: Sequence[bytes]
    ) -> None:
        """Encode what each host that connects is told once for all of them."""
        own = certificate.public_bytes(serialization.Encoding.PEM)
        others = [pem + b"\n" for pem in dict.fromkeys(also_trusted) if pem != own.strip()]
        self._pair = key, certificate
        self._pems = own, b"".join([own, *others])

    @property
    def certificate_pem(self) -> bytes:
        """The certificate of the key that signs."""
        return self._pems[0]

    @property
    def ca_pem(self) -> bytes:
        """The certificates that clients and servers must trust: first that of the key that signs."""
        return self._pems[1]

    def has_signed(self, certificate_pem: bytes) -> bool:
        """Tell whether a certificate is signed by this key, not by a former one."""
        return _is_issued_by(certificate_pem, self._pair[1])

    def knows(self, certificate_pem: bytes) -> bool:
        """Tell whether a certificate is signed by an authority that is trusted, though it may have expired."""
        trusted = map(x509.load_pem_x509_certificate, certificates_in(self.ca_pem))
        return any(_is_issued_by(certificate_pem, authority) for authority in trusted)

    def issue_server(self, addresses: Sequence[str] = (), *, validity: dt.timedelta = VALIDITY) -> Identity:
        """Make a controller's identity: the name that our clients expect, localhost, and further names or addresses."""
        names: list[x509.GeneralName] = []
        for text in dict.fromkeys([CONTROLLER_NAME, "localhost", "127.0.0.1", "::1", *addresses]):
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(text)))
            except ValueError:
                names.append(x509.DNSName(text))
        key = ec.generate_private_key(_CURVE())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        certificate_pem = self._issue(key.public_key(), _name(CONTROLLER_NAME), names, usages, validity)
        return Identity(_key_pem(key), certificate_pem, self.ca_pem)

    def issue_operator(self, name: str, *, key_pem: bytes = b"", validity: dt.timedelta = VALIDITY) -> Identity:
        """Make an operator's identity, with a new key or with this one."""
        key = _load_key(key_pem) if key_pem else ec.generate_private_key(_CURVE())
        certificate_pem = self._issue_client(key.public_key(), Peer(PeerKind.OPERATOR, name), validity)
        return Identity(_key_pem(key), certificate_pem, self.ca_pem)

    def issue_peer(self, controller_id: str) -> Identity:
        """Make the identity of a controller as a client of another one."""
        key = ec.generate_private_key(_CURVE())
        certificate_pem = self._issue_client(key.public_key(), Peer(PeerKind.CONTROLLER, controller_id), VALIDITY)
        return Identity(_key_pem(key), certificate_pem, self.certificate_pem)

    def issue_host(self, host_id: str, enrolment: str = "", *, validity: dt.timedelta = VALIDITY) -> Identity:
        """Make a host's identity with a key generated here, for simulated hosts and for tests."""
        key = ec.generate_private_key(_CURVE())
        certificate_pem = self._issue_client(key.public_key(), Peer(PeerKind.HOST, host_id), validity, enrolment)
        return Identity(_key_pem(key), certificate_pem, self.ca_pem)

    def sign_host(
        self, csr_pem: bytes, host_id: str, enrolment: str = "", *, validity: dt.timedelta = VALIDITY
    ) -> bytes:
        """Sign the public key of a host's request, ignoring the rest. Raises BadSigningRequestError if invalid.

        The subject has the `enrolment`, so that homes of volumes can tell those of before and after it apart.
        """
        return self._issue_client(_requested_key(csr_pem), Peer(PeerKind.HOST, host_id), validity, enrolment)

    def issue_attachment(self, volume_id: str, generation: int, host_id: str) -> Identity:
        """Make the client identity of a guest's QEMU towards the home of a volume, with a key generated here.

        The controller does not accept it, and it is no server certificate: an attacker in that QEMU gets only the
        volume that it has attached anyway.
        """
        key = ec.generate_private_key(_CURVE())
        subject = _name(attachment_name(volume_id, generation, host_id), ATTACHMENT_UNIT)
        certificate_pem = self._issue(key.public_key(), subject, (), [ExtendedKeyUsageOID.CLIENT_AUTH], VALIDITY)
        return Identity(_key_pem(key), certificate_pem, self.ca_pem)

    def certify_signer(self, key: rsa.RSAPublicKey, name: str) -> bytes:
        """Certify a key that signs documents, for as long as this authority is valid: verifiers pin the certificate."""
        validity = self._pair[1].not_valid_after_utc - _now()
        return self._issue(key, _name(name), (), (), validity)

    def _issue_client(
        self, key: ec.EllipticCurvePublicKey, peer: Peer, validity: dt.timedelta, enrolment: str = ""
    ) -> bytes:
        subject = _name(common_name(peer.name, enrolment), peer.kind.value)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(peer.uri)]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if peer.kind is PeerKind.HOST:  # it serves volumes to other hosts
            names.append(x509.DNSName(host_server_name(peer.name)))
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        return self._issue(key, subject, names, usages, validity)

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        validity: dt.timedelta,
    ) -> bytes:
        now = _now()
        signing_key, authority = self._pair
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_TOLERANCE)
            .not_valid_after(now + validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(issuer, critical=False)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sign(key_pem: bytes, content: bytes) -> bytes:
    """Sign content by a certificate's key, as `signer` wants it."""
    return _load_key(key_pem).sign(content, ec.ECDSA(hashes.SHA256()))


def signer(certificate_pem: bytes, content: bytes, signature: bytes) -> Peer | None:
    """Return whom a certificate names, whoever issued it, if its key has signed this content; None for all else."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return None
        key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
        return Peer.from_uri(uri)
    except (ValueError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound, UnknownPeerError):
        return None


def _is_issued_by(certificate_pem: bytes, authority: x509.Certificate) -> bool:
    try:
        x509.load_pem_x509_certificate(certificate_pem).verify_directly_issued_by(authority)
    except (ValueError, InvalidSignature):
        return False
    return True


def _read_authority(directory: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate, tuple[bytes, ...]]:
    """Read the pair that signs, and the certificates of those that are trusted beside it."""
    both = (directory / AUTHORITY_FILE).read_bytes()
    start = both.index(_CERTIFICATE_START)
    others = [directory / name for name in (NEXT_FILE, FORMER_FILE)]
    also_trusted = [pem for file in others if file.exists() for pem in certificates_in(file.read_bytes())]
    return _load_key(both[:start]), x509.load_pem_x509_certificate(both[start:]), tuple(also_trusted)


def _requested_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a signing request, after checking that its sender holds the private key."""
    if len(csr_pem) > limits.CSR_BYTES:
        raise BadSigningRequestError(f"a signing request of {len(csr_pem)} bytes")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise BadSigningRequestError("not a signing request") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVE):
        raise BadSigningRequestError("not a key on P-256")
    if not proven:
        raise BadSigningRequestError("signed with another key")
    return key


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _name(common_name: str, kind: str = "") -> x509.Name:
    """Make a subject; a peer's includes its kind, so that no operator is named like a host (`tls.subject_of_host`)."""
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, kind)] if kind else []
    return x509.Name([*units, x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not a key on an elliptic curve")
    return key


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
