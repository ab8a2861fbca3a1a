"""Enrolment: exchange a one-time token for this host's certificate, and renew the certificate before it expires."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import grpc

from stead_agent.desired import StoreError, pool_address
from stead_agent.logs import Log
from stead_agent.settings import DESIRED_FILE
from stead_proto import tls
from stead_proto.tls import Identity
from stead_proto.v1 import host_pb2, host_pb2_grpc

_log = Log(__name__)

_ANSWER_SECONDS: Final = 60  # the controller answers in 40 where its database does not
_LOOK_SECONDS: Final = 6 * 3600.0
_SOON_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 60.0
_PENDING_KEY_FILE: Final = "enrolling-key.pem"
_FORMER_FOLDER: Final = "former"  # in the state directory


class EnrolmentError(Exception):
    """This machine was not enrolled; the message is for the operator."""


async def enrol(
    address: str, ca_pem: bytes, token: str, state_dir: Path, hostname: str | None = None, *, again: bool = False
) -> str:
    """Exchange a one-time token for a certificate in the state directory and return the host id.

    With `again` the host keeps the id of its present certificate, and its public address: in a cloud whose controller
    was lost, or in its own, which wants a token that is bound to it, and that it shows its present key, though the
    certificate may have expired. An agent that runs uses the new certificate from its next start on. What a new
    controller does not know yet is served by the former one, which is kept for that where it is of other authorities.

    The private key never leaves this machine. It is stored until the answer comes, so that a second try proves that
    it comes from the same machine.
    """
    from stead_proto import certificates  # noqa: PLC0415 - heavy, and only enrolment and renewal need it

    name = hostname or socket.gethostname()
    key_pem = await asyncio.to_thread(_pending_key, state_dir / _PENDING_KEY_FILE)
    csr_pem = certificates.signing_request(key_pem, name)
    request = host_pb2.EnrolRequest(token=token, csr_pem=csr_pem, hostname=name)
    if again:
        request.former_host_id = await asyncio.to_thread(_present_id, state_dir)
        request.former_pool_address = await asyncio.to_thread(_present_address, state_dir)
        present = await asyncio.to_thread(Identity.load, state_dir)
        request.former_certificate_pem = present.certificate_pem
        request.former_signature = certificates.sign(present.key_pem, csr_pem)
    try:
        async with tls.channel_to_enrolment(address, ca_pem) as channel:
            answer = await host_pb2_grpc.EnrolmentStub(channel).Enrol(request, timeout=_ANSWER_SECONDS)
    except grpc.aio.AioRpcError as error:
        raise EnrolmentError(f"the controller at {address} did not enrol this machine: {error.details()}") from error
    if again:
        await asyncio.to_thread(_keep_former, state_dir, tls.authorities_digest(answer.ca_pem))
    await asyncio.to_thread(Identity(key_pem, answer.certificate_pem, answer.ca_pem).save, state_dir)
    await asyncio.to_thread((state_dir / _PENDING_KEY_FILE).unlink)
    _log.info("enrolled", host=answer.host_id, controller=address)
    return answer.host_id


def _present_id(state_dir: Path) -> str:
    """Return the host id of the certificate in the state directory."""
    try:
        return Identity.load(state_dir).peer.name
    except (tls.NoIdentityError, tls.UnknownPeerError) as error:
        raise EnrolmentError(f"this machine was no host before: {error}") from error


def _present_address(state_dir: Path) -> str:
    """Return the host's own public address; empty where that cannot be read, since then it gets another one."""
    try:
        return pool_address(state_dir / DESIRED_FILE)
    except StoreError as error:
        _log.warning("address_not_known", reason=str(error))
        return ""


def _keep_former(state_dir: Path, authorities: bytes) -> None:
    """Keep the present identity as the former one, unless that of before is still kept: connections are of that.

    Nobody needs one of the same authorities: who trusts it trusts the next one, too.
    """
    present = Identity.load(state_dir)
    if present.authorities != authorities and former_identity(state_dir) is None:
        present.save(state_dir / _FORMER_FOLDER)


def former_identity(state_dir: Path) -> Identity | None:
    """Return the identity of before this host was enrolled again, while it is kept."""
    folder = state_dir / _FORMER_FOLDER
    if not folder.exists():  # as nearly always
        return None
    try:
        return Identity.load(folder)
    except tls.NoIdentityError:
        return None


def forget_former(state_dir: Path, authorities: bytes) -> None:
    """Remove the former identity if the present one is of these authorities, whose controller knows all volumes."""
    folder = state_dir / _FORMER_FOLDER
    if folder.exists() and Identity.load(state_dir).authorities == authorities:
        shutil.rmtree(folder)
        _log.info("former_certificate_forgotten")


def _pending_key(path: Path) -> bytes:
    """Return the private key for which a certificate is requested, creating it the first time."""
    from stead_proto import certificates  # noqa: PLC0415 - heavy, and only enrolment and renewal need it

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        tls.write_private(path, certificates.new_signing_request("enrolling")[0])
    return path.read_bytes()


async def renew(channel: grpc.aio.Channel, state_dir: Path) -> Identity:
    """Exchange the current certificate for a new one of the same host, with a new key; AioRpcError if refused."""
    from stead_proto import certificates  # noqa: PLC0415 - heavy, and only enrolment and renewal need it

    key_pem, csr_pem = certificates.new_signing_request("renewal")
    stub = host_pb2_grpc.HostLinkStub(channel)
    request = host_pb2.RenewCertificateRequest(csr_pem=csr_pem)
    answer = await stub.RenewCertificate(request, timeout=_ANSWER_SECONDS)
    renewed = Identity(key_pem, answer.certificate_pem, answer.ca_pem)
    await asyncio.to_thread(renewed.save, state_dir)
    _log.info("certificate_renewed")
    return renewed


class Renewing:
    """Renews the certificate during a session: in time, and when the controller has other authorities.

    The next session uses it. All else on the host does at once, and when that is done the controller is told.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        identity: Identity,
        state_dir: Path,
        *,
        is_used: Callable[[bytes], Awaitable[bool]],
        tell: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Take the session's certificate.

        `is_used` has programs and guests use what came with these authorities, and says whether all do.
        """
        self._channel = channel
        self._identity = identity
        self._state_dir = state_dir
        self._is_used = is_used
        self._tell = tell
        self._wanted = self._told = b""
        self._pause = _SOON_SECONDS
        self._woken = asyncio.Event()

    def want(self, authorities: bytes) -> None:
        """Have the certificate that a controller with these authorities signs; none: of an earlier release."""
        self._wanted = authorities
        self._pause = _SOON_SECONDS
        self._woken.set()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            self._woken.clear()
            is_other = bool(self._wanted) and self._wanted != self._identity.authorities
            if is_other or tls.renewal_due(self._identity.certificate_pem):
                try:
                    self._identity = await renew(self._channel, self._state_dir)
                except grpc.aio.AioRpcError as error:
                    _log.warning("certificate_not_renewed", reason=error.details())
            with contextlib.suppress(TimeoutError):  # then it looks again
                async with asyncio.timeout(await self._settle()):
                    await self._woken.wait()

    async def _settle(self) -> float:
        """Tell the controller once all is as it wants; return in how many seconds to look again."""
        wanted = self._wanted
        if not wanted or wanted == self._told:
            return _LOOK_SECONDS
        if wanted != self._identity.authorities or not await self._is_used(wanted):
            self._pause = min(2 * self._pause, _LONGEST_SECONDS)
            return self._pause / 2
        await self._tell(wanted)
        self._told = wanted
        _log.info("certificates_used", authorities=wanted.hex()[:16])
        return _LOOK_SECONDS
