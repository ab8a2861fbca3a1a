"""Who may speak to whom: real handshakes on loopback with certificates of several kinds."""

import base64
import datetime as dt
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stead_proto import certificates, limits, tls
from stead_proto.certificates import Authority, BadSigningRequestError
from stead_proto.tls import Identity, Peer, PeerKind, UnknownPeerError

EXPIRED = dt.timedelta(seconds=-1)


class _WhoAmI(grpc.GenericRpcHandler):
    """Answers every call with the caller's URI as the server sees it."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def answer(_request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            return tls.peer_of(context).uri.encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def _server(credentials: grpc.ServerCredentials) -> AsyncIterator[str]:
    server = grpc.aio.server(options=limits.server_options())
    server.add_generic_rpc_handlers((_WhoAmI(),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def _ask(channel: grpc.aio.Channel) -> str:
    async with channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/who/AmI")
        return (await call(b"", timeout=60)).decode()


async def _refused(call: Awaitable[str]) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


async def test_host_and_operator_are_known_by_kind_and_name() -> None:
    authority = Authority.create()
    async with _server(tls.server_credentials(authority.issue_server())) as address:
        assert await _ask(tls.channel_to_controller(address, authority.issue_host("h-1"))) == "stead:host:h-1"
        operator = authority.issue_operator("ann@example.org")
        assert await _ask(tls.channel_to_controller(address, operator)) == "stead:operator:ann@example.org"


async def test_a_request_signed_for_a_host_names_that_host_whatever_it_asked_for() -> None:
    authority = Authority.create()
    key, csr = certificates.new_signing_request("stead:operator:root")
    identity = Identity(key, authority.sign_host(csr, "h-7"), authority.certificate_pem)
    async with _server(tls.server_credentials(authority.issue_server())) as address:
        assert await _ask(tls.channel_to_controller(address, identity)) == "stead:host:h-7"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda ours: ours.issue_host("h-1", validity=EXPIRED), id="expired"),
        pytest.param(
            lambda ours: Identity(
                (foreign := Authority.create().issue_host("h-1")).key_pem, foreign.certificate_pem, ours.certificate_pem
            ),
            id="another CA",
        ),
        pytest.param(lambda ours: ours.issue_server(), id="a server's certificate"),
    ],
)
async def test_server_refuses_client(make: Callable[[Authority], Identity]) -> None:
    authority = Authority.create()
    async with _server(tls.server_credentials(authority.issue_server())) as address:
        assert await _refused(_ask(tls.channel_to_controller(address, make(authority))))


async def test_server_refuses_client_without_certificate() -> None:
    authority = Authority.create()
    async with _server(tls.server_credentials(authority.issue_server())) as address:
        assert await _refused(_ask(tls.channel_to_enrolment(address, authority.certificate_pem)))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda ours: ours.issue_host("h-1"), id="a host's certificate"),
        pytest.param(lambda ours: ours.issue_host(tls.CONTROLLER_NAME), id="a host named like the controller"),
        pytest.param(lambda _ours: Authority.create().issue_server(), id="another CA"),
        pytest.param(lambda ours: ours.issue_server(validity=EXPIRED), id="expired"),
    ],
)
async def test_client_refuses_server(make: Callable[[Authority], Identity]) -> None:
    authority = Authority.create()
    async with _server(tls.enrolment_server_credentials(make(authority))) as address:
        assert await _refused(_ask(tls.channel_to_controller(address, authority.issue_host("h-1"))))
        assert await _refused(_ask(tls.channel_to_enrolment(address, authority.certificate_pem)))


async def test_an_attachment_is_no_client_of_the_controller_and_no_server() -> None:
    """Whoever breaks into a guest's QEMU and keeps what it showed a volume's home cannot speak for its host."""
    authority = Authority.create()
    held = authority.issue_attachment("vol-0123456789abcdef0", 7, "host-00000000000000002")
    certificate = x509.load_pem_x509_certificate(held.certificate_pem)
    subject = tls.subject_of_attachment("vol-0123456789abcdef0", 7, "host-00000000000000002")
    assert ",".join(each.rfc4514_string() for each in certificate.subject.rdns) == subject
    with pytest.raises(UnknownPeerError):
        _ = held.peer
    async with _server(tls.server_credentials(authority.issue_server())) as address:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _ask(tls.channel_to_controller(address, held))
        assert "0 names of ours" in (refused.value.details() or "")
    async with _server(tls.server_credentials(held)) as address:
        assert await _refused(_ask(tls.channel_to_controller(address, authority.issue_host("h-1"))))


def test_an_attachment_whose_name_would_be_cut_off_gets_no_certificate() -> None:
    with pytest.raises(ValueError, match="too long"):
        Authority.create().issue_attachment("vol-0123456789abcdef0", 10**19, "host-00000000000000002")


@pytest.mark.parametrize("uri", ["", "stead", "stead:host", "stead:host:", "stead:king:x", "spiffe:host:h-1"])
def test_other_uris_name_no_identity(uri: str) -> None:
    with pytest.raises(UnknownPeerError):
        Peer.from_uri(uri)


def test_uri_round_trip() -> None:
    for kind in PeerKind:
        peer = Peer(kind, "a:b c")
        assert Peer.from_uri(peer.uri) == peer


def _foreign_csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"-----BEGIN CERTIFICATE REQUEST-----\n!\n-----END CERTIFICATE REQUEST-----\n",
        b"x" * (limits.CSR_BYTES + 1),
        _foreign_csr(ec.generate_private_key(ec.SECP384R1())),
        _foreign_csr(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["empty", "no DER", "too long", "P-384", "RSA"],
)
def test_bad_signing_requests_are_refused(csr: bytes) -> None:
    with pytest.raises(BadSigningRequestError):
        Authority.create().sign_host(csr, "h-1")


def test_a_request_whose_key_was_exchanged_is_refused() -> None:
    _, pem = certificates.new_signing_request("h")
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    broken = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(bytes(der))
    with pytest.raises(BadSigningRequestError):
        Authority.create().sign_host(broken + b"-----END CERTIFICATE REQUEST-----\n", "h-1")


def test_identity_is_saved_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    with pytest.raises(tls.NoIdentityError):
        Identity.load(directory)
    identity = Authority.create().issue_host("h-1")
    identity.save(directory)
    assert Identity.load(directory) == identity
    assert "PRIVATE" not in repr(identity)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = list(directory.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert sorted(file.name for file in files) == ["ca.pem", "identity.pem"]


def test_authority_is_made_once(tmp_path: Path) -> None:
    first = Authority.load_or_create(tmp_path / "ca")
    Authority.create().save_once(tmp_path / "ca" / "authority.pem")
    again = Authority.load_or_create(tmp_path / "ca")
    assert again.certificate_pem == first.certificate_pem
    assert [stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "ca").iterdir()] == [0o600]


def test_renewal_is_due_in_the_last_third() -> None:
    now = dt.datetime.now(dt.UTC)
    certificate = Authority.create().issue_host("h-1", validity=dt.timedelta(days=29)).certificate_pem
    assert not tls.renewal_due(certificate, now + dt.timedelta(days=18))
    assert tls.renewal_due(certificate, now + dt.timedelta(days=20))
    assert tls.renewal_due(certificate, now + dt.timedelta(days=100))


def test_a_host_without_a_name_as_a_server_gets_one_by_renewal() -> None:
    operators = Authority.create().issue_operator("h-1").certificate_pem  # as hosts' were before they served volumes
    assert tls.renewal_due(operators, dt.datetime.now(dt.UTC))


def test_hosts_know_each_other_by_names_that_no_operator_can_have() -> None:
    authority = Authority.create()
    host = x509.load_pem_x509_certificate(authority.issue_host("h-1").certificate_pem)
    names = host.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [tls.host_server_name("h-1")] == ["h-1.host.stead.internal"]
    assert _as_written_by_gnutls(host) == tls.subject_of_host("h-1")
    again = authority.issue_host("h-1", mark := "0" * tls.ENROLMENT_LENGTH).certificate_pem
    assert _as_written_by_gnutls(x509.load_pem_x509_certificate(again)) == tls.subject_of_host("h-1", mark)
    assert [tls.enrolment_of(again, each) for each in ("h-1", "-1", "1", "h-2")] == [mark, "", "", ""]
    assert tls.enrolment_of(authority.issue_host("h-1").certificate_pem, "h-1") == ""
    operator = x509.load_pem_x509_certificate(authority.issue_operator("h-1").certificate_pem)
    assert _as_written_by_gnutls(operator) != tls.subject_of_host("h-1")


def _as_written_by_gnutls(certificate: x509.Certificate) -> str:
    return ",".join(part.rfc4514_string() for part in certificate.subject.rdns)


def test_lifetime_is_what_the_certificate_says() -> None:
    for validity in (dt.timedelta(days=3), dt.timedelta(days=30 * 365)):
        pem = Authority.create().issue_host("h-1", validity=validity).certificate_pem
        certificate = x509.load_pem_x509_certificate(pem)
        assert tls.lifetime(pem) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def test_an_identity_knows_whom_it_names() -> None:
    authority = Authority.create()
    assert authority.issue_host("h-0123456789abcdef0").peer == Peer(PeerKind.HOST, "h-0123456789abcdef0")
    assert authority.issue_operator("ann@example.org").peer == Peer(PeerKind.OPERATOR, "ann@example.org")
    with pytest.raises(UnknownPeerError):
        _ = authority.issue_server().peer


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1:7445", "ipv4:192.0.2.1:7445"),
        ("[2001:db8::1]:7445", "ipv6:[2001:db8::1]:7445"),
        ("stead.example.org:7445", "stead.example.org:7445"),
    ],
)
def test_only_names_are_asked_for(address, expected):
    assert tls.target(address) == expected
