"""Enrolment of hosts: a one-time token and a certificate request are exchanged for a host id and a certificate.

A token is for a machine that is no host, or was one of a controller that was lost; or it is bound to a host that is
known and whose certificate is not accepted any more: that host alone can use it, and stays who it is.
"""

import enum
import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import grpc
from sqlalchemy import delete

from stead_controller.catalog import ids
from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import EnrolmentToken, Host, HostToken
from stead_controller.errors import (
    AlreadyExists,
    InvalidParameter,
    MalformedId,
    NotAuthorized,
    NotFound,
    SteadError,
    WrongState,
)
from stead_controller.hosts import facts
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network import host_addresses, unclaimed_addresses
from stead_proto import limits, tls
from stead_proto.certificates import VALIDITY, Authority, signer
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import host_pb2_grpc

_log = logging.getLogger(__name__)


class Proof(enum.Enum):
    """What a machine has shown of the host that it says it was."""

    NONE = "none"
    FOREIGN = "foreign"  # the key of a certificate of an authority that is not known here: anybody can make one
    GIVEN = "given"  # the key of a certificate of this cloud, which may have expired


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that wants to be a host: its name, and the id and the address that it had as one."""

    hostname: str
    former_id: str = ""
    former_address: str = ""  # its own of the first public pool
    proof: Proof = Proof.NONE  # that it was the host of that id


def create_token(tx: Transaction, zone: str, valid: timedelta, now: datetime) -> tuple[str, datetime]:
    """Create a one-time token for a zone and return when it expires; only its hash is stored."""
    token = secrets.token_urlsafe(32)
    expires = now + valid
    tx.session.add(EnrolmentToken(digest=_digest(token), zone=zone, expires=expires))
    return token, expires


def create_host_token(
    tx: Transaction, host_id: str, valid: timedelta, now: datetime, *, any_authority: bool
) -> tuple[str, datetime]:
    """Create a one-time token for a host that is known, and return when it expires.

    With `any_authority` its certificate may be of an authority that is not known here. Raises MalformedId, NotFound,
    and WrongState for a host that is up: what it has is accepted, and nobody else may take its place.
    """
    if not ids.is_id("host", host_id):
        raise MalformedId("host", host_id)
    host = tx.session.get(Host, host_id)
    if host is None:
        raise NotFound("host", host_id)
    _require_down(host)
    token = secrets.token_urlsafe(32)
    expires = now + valid
    tx.session.add(HostToken(digest=_digest(token), host_id=host_id, any_authority=any_authority, expires=expires))
    return token, expires


def enrol_host(tx: Transaction, cloud: Cloud, token: str, machine: Machine, now: datetime) -> str | None:
    """Use up a token and return the host's id; None when there is no such token (any more).

    With a token that is bound to a host, this is that host, whose row stays as it is: see `_enrol_known`. All others
    get a row. A host of a cloud that was lost keeps its id, unless there is a host with that: then AlreadyExists is
    raised, and the token stays. While others of them may still come, whoever was none raises WrongState: any address
    could be one that they or their guests have. Raises InvalidParameter for what is no host's id, LimitExceeded.
    """
    used = tx.session.execute(
        delete(EnrolmentToken)
        .where(EnrolmentToken.digest == _digest(token))
        .returning(EnrolmentToken.zone, EnrolmentToken.expires)
    ).first()
    if used is None:
        return _enrol_known(tx, token, machine, now)
    if used.expires <= now:
        return None
    host_id = machine.former_id or ids.new_id("host")
    if not ids.is_id("host", host_id):
        raise InvalidParameter(f"'{host_id[:40]}' is no host's id.")
    if machine.former_id and tx.session.get(Host, host_id) is not None:
        raise AlreadyExists(
            "host",
            f"There is a host {host_id} in this cloud already, and this token is for any machine. If this is that "
            f"host, and its certificate is not accepted any more: stead host token --host {host_id}",
        )
    if not machine.former_id and unclaimed_addresses.are_hosts_awaited(tx):
        raise WrongState(
            "host",
            "Hosts of the lost controller may still join this one. Was this machine one of them: stead join --again. "
            "Is it a further one, it can join when all of them have, and an operator has said so: "
            "stead recover --all-joined.",
        )
    host = Host(
        id=host_id,
        hostname=machine.hostname[:255],
        zone=used.zone,
        state="enrolled",
        created=now,
        certificate_ends=now + VALIDITY,
    )
    tx.session.add(host)
    tx.session.flush()
    if machine.former_id:
        unclaimed_addresses.await_hosts(tx)
    host_addresses.take(tx, cloud, host, now, machine.former_address)
    return host_id


def _enrol_known(tx: Transaction, token: str, machine: Machine, now: datetime) -> str | None:
    """Use up a token that is bound to a host, if the machine is that host; None when there is no such token (any more).

    Raises WrongState for any other machine, and while the host is up; the token stays then.
    """
    used = tx.session.execute(
        delete(HostToken)
        .where(HostToken.digest == _digest(token))
        .returning(HostToken.host_id, HostToken.any_authority, HostToken.expires)
    ).first()
    if used is None or used.expires <= now:
        return None
    host_id: str = used.host_id
    if not machine.former_id:
        raise WrongState(
            "host",
            f"This token is for the host {host_id} alone, which uses it by: stead join --again. "
            "Another machine needs one of its own: stead host token.",
        )
    if machine.former_id != host_id:
        raise WrongState(
            "host",
            f"This token is for the host {host_id}, and this machine is {machine.former_id[:40]}. "
            f"For this one: stead host token --host {machine.former_id[:40]}",
        )
    _require_proof(host_id, machine.proof, any_authority=used.any_authority)
    host = tx.session.get_one(Host, host_id)
    _require_down(host)
    host.certificate_ends = now + VALIDITY
    facts.note_enrolment(tx, host, secrets.token_hex(tls.ENROLMENT_LENGTH // 2))
    return host_id


def _require_proof(host_id: str, proof: Proof, *, any_authority: bool) -> None:
    if proof is Proof.NONE:
        raise WrongState(
            "host",
            f"This machine has not shown that it has the key of {host_id}: if its Stead is of an earlier release, "
            "install the one that the controller has, and join again.",
        )
    if proof is Proof.FOREIGN and not any_authority:
        raise WrongState(
            "host",
            f"The certificate of {host_id} is of an authority that this controller does not know, as after a restore "
            "of a backup of before a change of the authority. If that is so, make a token by which any machine can "
            f"take its place, and keep it from others: stead host token --host {host_id} --any-authority",
        )


def _require_down(host: Host) -> None:
    if host.state == "up":
        raise WrongState(
            "host",
            f"{host.id} is up: its certificate is accepted, and nobody may take its place. If it has just gone, it is "
            "down in a minute.",
        )


def _proof_of(request: pb.EnrolRequest, authority: Authority) -> Proof:
    """Tell what a machine has shown of the host that it says it was."""
    if max(len(request.former_certificate_pem), len(request.csr_pem)) > limits.CSR_BYTES:
        return Proof.NONE
    shown = signer(request.former_certificate_pem, request.csr_pem, request.former_signature)
    if shown != tls.Peer(tls.PeerKind.HOST, request.former_host_id):
        return Proof.NONE
    return Proof.GIVEN if authority.knows(request.former_certificate_pem) else Proof.FOREIGN


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class AddressLimits(Protocol):
    """Limits how often an address may present an invalid token."""

    def check(self, address: str, access_key_id: str) -> None:
        """Raise TooManyRequests to refuse."""

    def failed(self, address: str, refusal: SteadError) -> SteadError:
        """Count a failed attempt."""


class Enrolment(host_pb2_grpc.EnrolmentServicer):
    """The `Enrolment` service, on the port that requires no client certificate."""

    def __init__(
        self, database: Database, cloud: Cloud, authority: Authority, clock: Clock, failed_logins: AddressLimits
    ) -> None:
        """Store the dependencies."""
        self._database = database
        self._cloud = cloud
        self._authority = authority
        self._clock = clock
        self._failed_logins = failed_logins

    async def Enrol(  # noqa: N802 - the name of the RPC
        self, request: pb.EnrolRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EnrolResponse:
        """Exchange a token and a certificate request for a host id and a certificate."""
        address = tls.address_of(context)
        self._failed_logins.check(address, "")  # an invalid token costs a writing transaction
        proof = _proof_of(request, self._authority)
        machine = Machine(request.hostname, request.former_host_id, request.former_pool_address, proof)
        enrolled = await self._database.run(lambda tx: self._enrol(tx, request, machine))
        if enrolled is None:
            refusal = NotAuthorized("no such enrolment token, or it was used or is over")
            raise self._failed_logins.failed(address, refusal)
        host_id, certificate = enrolled
        _log.info("host_enrolled", extra={"host": host_id, "hostname": request.hostname, "proof": proof.value})
        return pb.EnrolResponse(host_id=host_id, certificate_pem=certificate, ca_pem=self._authority.ca_pem)

    def _enrol(self, tx: Transaction, request: pb.EnrolRequest, machine: Machine) -> tuple[str, bytes] | None:
        """Make a machine a host and sign its certificate, from which on those that it had before count no more."""
        host_id = enrol_host(tx, self._cloud, request.token, machine, self._clock())
        if host_id is None:
            return None
        host = tx.session.get_one(Host, host_id)
        certificate = self._authority.sign_host(request.csr_pem, host_id, host.enrolment)
        host.certified = tls.lifetime(certificate)[0]
        return host_id, certificate
