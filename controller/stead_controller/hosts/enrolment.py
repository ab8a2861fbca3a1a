"""Enrolment of hosts: a one-time token and a certificate request are exchanged for a host id and a certificate."""

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
from stead_controller.db.tables import EnrolmentToken, Host
from stead_controller.errors import AlreadyExists, InvalidParameter, NotAuthorized, SteadError, WrongState
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network import host_addresses, unclaimed_addresses
from stead_proto import tls
from stead_proto.certificates import Authority
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import host_pb2_grpc

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that wants to be a host: its name, and its id and address in a cloud whose controller was lost."""

    hostname: str
    former_id: str = ""
    former_address: str = ""  # its own of the first public pool


def create_token(tx: Transaction, zone: str, valid: timedelta, now: datetime) -> tuple[str, datetime]:
    """Create a one-time token for a zone and return when it expires; only its hash is stored."""
    token = secrets.token_urlsafe(32)
    expires = now + valid
    tx.session.add(EnrolmentToken(digest=_digest(token), zone=zone, expires=expires))
    return token, expires


def enrol_host(tx: Transaction, cloud: Cloud, token: str, machine: Machine, now: datetime) -> str | None:
    """Use up a token and create the host's row; None when there is no such token (any more).

    A host of a cloud that was lost keeps its id, unless there is a host with that: then AlreadyExists is raised, and
    the token stays. While others of them may still come, whoever was none raises WrongState: any address could be one
    that they or their guests have. Raises InvalidParameter for what is no host's id, LimitExceeded.
    """
    used = tx.session.execute(
        delete(EnrolmentToken)
        .where(EnrolmentToken.digest == _digest(token))
        .returning(EnrolmentToken.zone, EnrolmentToken.expires)
    ).first()
    if used is None or used.expires <= now:
        return None
    host_id = machine.former_id or ids.new_id("host")
    if not ids.is_id("host", host_id):
        raise InvalidParameter(f"'{host_id[:40]}' is no host's id.")
    if machine.former_id and tx.session.get(Host, host_id) is not None:
        raise AlreadyExists(
            "host", f"There is a host {host_id} in this cloud already: only one that it does not know joins again."
        )
    if not machine.former_id and unclaimed_addresses.are_hosts_awaited(tx):
        raise WrongState(
            "host",
            "Hosts of the lost controller may still join this one. Was this machine one of them: stead join --again. "
            "Is it a further one, it can join when all of them have, and an operator has said so: "
            "stead recover --all-joined.",
        )
    host = Host(id=host_id, hostname=machine.hostname[:255], zone=used.zone, state="enrolled", created=now)
    tx.session.add(host)
    tx.session.flush()
    if machine.former_id:
        unclaimed_addresses.await_hosts(tx)
    host_addresses.take(tx, cloud, host, now, machine.former_address)
    return host_id


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
        machine = Machine(request.hostname, request.former_host_id, request.former_pool_address)
        self._failed_logins.check(address, "")  # an invalid token costs a writing transaction
        host_id = await self._database.run(
            lambda tx: enrol_host(tx, self._cloud, request.token, machine, self._clock())
        )
        if host_id is None:
            refusal = NotAuthorized("no such enrolment token, or it was used or is over")
            raise self._failed_logins.failed(address, refusal)
        certificate = self._authority.sign_host(request.csr_pem, host_id)
        _log.info("host_enrolled", extra={"host": host_id, "hostname": request.hostname})
        return pb.EnrolResponse(host_id=host_id, certificate_pem=certificate, ca_pem=self._authority.ca_pem)
