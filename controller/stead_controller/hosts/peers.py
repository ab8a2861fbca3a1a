"""Identifies who calls a service that is for hosts, or for other controllers, alone."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

import grpc
from sqlalchemy import select

from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Host
from stead_proto import tls

FORMER: Final = "this host was given another certificate since: stead host token --host, then stead join --again"
"""What is said to who has a certificate that a host had before it enrolled again."""


async def require_host(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return the id of the host whose certificate the peer presented; ends the call for any other peer."""
    return await _require(context, tls.PeerKind.HOST)


async def require_present_host(context: grpc.aio.ServicerContext[Any, Any], database: Database) -> str:
    """Return the id of the calling host; also ends the call for a certificate that it was given before it enrolled."""
    host_id = await require_host(context)
    begin = presented(context, host_id).begin
    if await database.run(lambda tx: former(tx, {(host_id, begin)}), writes=False):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, FORMER)
    return host_id


class Presented(NamedTuple):
    """The certificate of a host that calls: the start of its validity, and by which enrolment the host has it."""

    begin: datetime
    enrolment: str


def presented(context: grpc.aio.ServicerContext[Any, Any], host_id: str) -> Presented:
    """Return what counts of the certificate that this host has presented."""
    [certificate] = context.auth_context()["x509_pem_cert"]
    return Presented(tls.lifetime(certificate)[0], tls.enrolment_of(certificate, host_id))


def former(tx: Transaction, presented: Collection[tuple[str, datetime]]) -> set[tuple[str, datetime]]:
    """Return of hosts, and the begins of their certificates, those that were given before the host enrolled last."""
    query = select(Host.id, Host.certified).where(Host.id.in_({host_id for host_id, _ in presented}))
    certified = {host_id: begin for host_id, begin in tx.session.execute(query) if begin is not None}
    return {(host_id, begin) for host_id, begin in presented if host_id in certified and begin < certified[host_id]}


async def require_controller(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End the call of any peer that is no other controller of this cloud."""
    await _require(context, tls.PeerKind.CONTROLLER)


async def _require(context: grpc.aio.ServicerContext[Any, Any], kind: tls.PeerKind) -> str:
    try:
        peer = tls.peer_of(context)
    except tls.UnknownPeerError:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no certificate of this cloud")
    if peer.kind is not kind:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"this service is for {kind.value}s")
    return peer.name
