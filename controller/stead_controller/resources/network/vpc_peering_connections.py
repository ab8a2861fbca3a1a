"""Request, accept, reject, expire, delete and find VPC peering connections, which both accounts see.

See https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html for the states and limits.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, or_, select

from stead_controller.catalog import ids
from stead_controller.db.tables import Vpc, VpcPeeringConnection
from stead_controller.desired import peered_vpcs
from stead_controller.desired.peered_vpcs import ACTIVE
from stead_controller.errors import (
    AlreadyExists,
    InvalidParameter,
    MissingParameter,
    NotAuthorized,
    NotFound,
    WrongState,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, among, instant, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_hosts

PENDING: Final = "pending-acceptance"
REJECTED: Final = "rejected"
EXPIRED: Final = "expired"
FAILED: Final = "failed"
DELETED: Final = "deleted"

LIFETIME: Final = timedelta(days=7)
"""How long a request may wait for its acceptance."""
VISIBLE: Final[dict[str, timedelta]] = {
    REJECTED: timedelta(days=2),
    EXPIRED: timedelta(days=2),
    FAILED: timedelta(hours=2),
    DELETED: timedelta(hours=2),
}
"""How long a connection that has ended is still shown."""

_KIND: Final = "vpc-peering-connection"
_FAILED_MESSAGE: Final = "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"
_BATCH: Final = 500

_row: Final = VpcPeeringConnection
FILTERS: Final[dict[str, Condition]] = {
    "accepter-vpc-info.cidr-block": among(_row.accepter_vpc_id, peered_vpcs.VPC_IDS, peered_vpcs.HAS_BLOCK),
    "accepter-vpc-info.owner-id": text(_row.accepter_account_id),
    "accepter-vpc-info.vpc-id": text(_row.accepter_vpc_id),
    "expiration-time": instant(_row.expires),
    "requester-vpc-info.cidr-block": among(_row.requester_vpc_id, peered_vpcs.VPC_IDS, peered_vpcs.HAS_BLOCK),
    "requester-vpc-info.owner-id": text(_row.account_id),
    "requester-vpc-info.vpc-id": text(_row.requester_vpc_id),
    "status-code": text(_row.status),
    "status-message": text(_row.message),
    "vpc-peering-connection-id": text(_row.id),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The VPC to connect with, of the caller's account unless another is named."""

    vpc_id: str
    peer_vpc_id: str | None
    peer_account_id: str | None = None
    peer_region: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a connection: a VPC, the blocks that the caller may see of it, and whether its names are resolved.

    `blocks` are IPv4 before IPv6, the primary one first; None where they are not shown.
    """

    account_id: str
    vpc_id: str
    blocks: Sequence[str] | None
    dns: bool


@dataclass(frozen=True, slots=True)
class DescribedPeering:
    """A connection with its sides and the caller's tags."""

    connection: VpcPeeringConnection
    requester: Side
    accepter: Side
    tags: Sequence[tuple[str, str]]


def create(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Asked, *, tags_given: Mapping[str, str], now: datetime
) -> VpcPeeringConnection:
    """Request a connection; it fails at once, as in EC2, for an absent VPC and for overlapping blocks.

    Raises MissingParameter, MalformedId, NotFound for the caller's own VPCs, InvalidParameter for another region,
    AlreadyExists, LimitExceeded.
    """
    requester = lookup.find(tx, caller, "vpc", Vpc, asked.vpc_id)
    if asked.peer_vpc_id is None:
        raise MissingParameter("peerVpcId")
    if asked.peer_region not in (None, "", cloud.region):
        raise InvalidParameter(f"The region {asked.peer_region} is not one of this cloud; it has {cloud.region} only.")
    lookup.check_form("vpc", [asked.peer_vpc_id])
    owner = asked.peer_account_id or caller.account_id
    accepter = tx.session.scalar(select(Vpc).where(Vpc.id == asked.peer_vpc_id, Vpc.account_id == owner))
    if accepter is None and owner == caller.account_id:
        raise NotFound("vpc", asked.peer_vpc_id)
    _check_new(tx, caller.account_id, requester.id, asked.peer_vpc_id)
    good = accepter is not None and not _overlap(tx, requester.id, accepter.id)
    row = VpcPeeringConnection(
        id=ids.new_id(_KIND),
        account_id=caller.account_id,
        accepter_account_id=owner,
        requester_vpc_id=requester.id,
        accepter_vpc_id=asked.peer_vpc_id,
        status=PENDING if good else FAILED,
        message=f"Pending Acceptance by {owner}" if good else _FAILED_MESSAGE,
        created=now,
        expires=now + LIFETIME if good else None,
        ended=None if good else now,
    )
    tx.session.add(row)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [(_KIND, row.id)], {_KIND: tags_given})
    return row


def accept(tx: Transaction, caller: Caller, peering_id: str, now: datetime) -> VpcPeeringConnection:
    """Accept a connection that another VPC's owner asked for.

    Raises MalformedId, NotFound, NotAuthorized for the requester, WrongState, LimitExceeded.
    """
    row = _of_accepter(tx, caller, peering_id, "accept")
    if row.expires is not None and row.expires <= now:
        _end(tx, row, EXPIRED, "Expired", now)
    _require_pending(row, "provisioning")
    if _overlap(tx, row.requester_vpc_id, row.accepter_vpc_id):
        raise WrongState(_KIND, f"The blocks of the VPCs of {row.id} overlap by now.")
    for vpc_id in (row.requester_vpc_id, row.accepter_vpc_id):
        quotas.check(
            tx,
            caller.account_id,
            quotas.ACTIVE_PEERINGS_PER_VPC,
            _row.id,
            peered_vpcs.of_vpc(vpc_id),
            _row.status == ACTIVE,
        )
    row.status, row.message, row.expires = ACTIVE, "Active", None
    tx.session.flush()
    notify_hosts.peering(tx, row)
    return row


def reject(tx: Transaction, caller: Caller, peering_id: str, now: datetime) -> None:
    """Reject a connection that another VPC's owner asked for; raises as `accept` does."""
    row = _of_accepter(tx, caller, peering_id, "reject")
    _require_pending(row, REJECTED)
    _end(tx, row, REJECTED, f"Rejected by {caller.account_id}", now)


def remove(tx: Transaction, caller: Caller, peering_id: str, now: datetime) -> None:
    """Delete a connection, from either side when it is active, from the requester's while it is pending.

    Raises MalformedId, NotFound, WrongState.
    """
    row = find(tx, caller, peering_id)
    mine = row.account_id == caller.account_id
    if row.status != ACTIVE and not (row.status == PENDING and mine):
        raise _no_way(row, "deleting")
    _end(tx, row, DELETED, f"Deleted by {caller.account_id}", now)


def end_of_vpc(tx: Transaction, vpc_id: str, account_id: str, now: datetime) -> None:
    """Delete the connections of a VPC that is being deleted."""
    living = select(VpcPeeringConnection).where(peered_vpcs.of_vpc(vpc_id), _row.status.in_((PENDING, ACTIVE)))
    for row in tx.session.scalars(living).all():
        _end(tx, row, DELETED, f"Deleted by {account_id}", now)


def modify_options(
    tx: Transaction, caller: Caller, peering_id: str, *, requester_dns: bool | None, accepter_dns: bool | None
) -> VpcPeeringConnection:
    """Set whether the other side can resolve a side's DNS names; each account changes its own side.

    Raises MalformedId, NotFound, NotAuthorized, WrongState.
    """
    row = find(tx, caller, peering_id)
    sides = ((requester_dns, row.account_id, "requester"), (accepter_dns, row.accepter_account_id, "accepter"))
    for asked, owner, side in sides:
        if asked is not None and owner != caller.account_id:
            raise NotAuthorized(
                f"User {caller.account_id} cannot modify the {side} options of {row.id}", code="OperationNotPermitted"
            )
    if row.status != ACTIVE:
        raise WrongState(
            _KIND,
            f"Peering {row.id} is not active. Peering options can be added only to active peerings.",
            code="OperationNotPermitted",
        )
    if requester_dns is not None:
        row.requester_dns = requester_dns
    if accepter_dns is not None:
        row.accepter_dns = accepter_dns
    tx.session.flush()
    notify_hosts.peering(tx, row)
    return row


def expire(tx: Transaction, now: datetime) -> None:
    """Expire the requests that waited too long, and remove connections that ended long ago."""
    late = select(VpcPeeringConnection).where(_row.status == PENDING, _row.expires <= now).limit(_BATCH)
    for row in tx.session.scalars(late).all():
        _end(tx, row, EXPIRED, "Expired", now)
    for status, visible in VISIBLE.items():
        old = tx.session.scalars(
            select(_row.id).where(_row.status == status, _row.ended <= now - visible).limit(_BATCH)
        ).all()
        if old:
            tags.remove_all(tx, old)
            tx.session.execute(delete(VpcPeeringConnection).where(_row.id.in_(old)))


def find(tx: Transaction, caller: Caller, peering_id: str) -> VpcPeeringConnection:
    """Return a connection of which the caller's account is a side; raises MalformedId, NotFound."""
    return lookup.find_seen(tx, _KIND, VpcPeeringConnection, peering_id, peered_vpcs.sides(caller))


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedPeering]:
    """Find the connections of both sides, sorted by id; raises MalformedId, NotFound."""
    sides = peered_vpcs.sides(caller)
    lookup.require_seen(tx, _KIND, _row.id, asked.ids, lambda _ids: sides)
    asked = lookup.only_seen(tx, asked, "vpc-peering-connection-id", _row.id, lambda _ids: sides)
    found_ids = lookup.select_ids(tx, caller, _row.id, asked, or_(*sides), conditions=FILTERS)
    return described(tx, caller, lookup.rows(tx, VpcPeeringConnection, found_ids))


def described(tx: Transaction, caller: Caller, rows: Sequence[VpcPeeringConnection]) -> list[DescribedPeering]:
    """Return connections with their details; the accepter's blocks are shown only while a connection is active."""
    tagged = tags.pairs_of(tx, caller.account_id, [row.id for row in rows])
    return [
        DescribedPeering(
            row,
            Side(
                row.account_id,
                row.requester_vpc_id,
                peered_vpcs.blocks_of(tx, row.requester_vpc_id),
                dns=row.requester_dns,
            ),
            Side(
                row.accepter_account_id,
                row.accepter_vpc_id,
                peered_vpcs.blocks_of(tx, row.accepter_vpc_id) if row.status == ACTIVE else None,
                dns=row.accepter_dns,
            ),
            tagged.get(row.id, ()),
        )
        for row in rows
    ]


def _of_accepter(tx: Transaction, caller: Caller, peering_id: str, verb: str) -> VpcPeeringConnection:
    row = find(tx, caller, peering_id)
    if row.accepter_account_id != caller.account_id:
        raise NotAuthorized(f"User {caller.account_id} cannot {verb} peering {row.id}", code="OperationNotPermitted")
    return row


def _require_pending(row: VpcPeeringConnection, wanted: str) -> None:
    if row.status != PENDING:
        raise _no_way(row, wanted)


def _no_way(row: VpcPeeringConnection, wanted: str) -> WrongState:
    """Return the error for an impossible change of state; clients match its text."""
    return WrongState(
        _KIND, f"Invalid state transition for {row.id}, attempted to transition from {row.status} to {wanted}"
    )


def _check_new(tx: Transaction, account_id: str, vpc_id: str, peer_vpc_id: str) -> None:
    living = _row.status.in_((PENDING, ACTIVE))
    known = tx.session.scalar(select(_row.id).where(peered_vpcs.joins(vpc_id, peer_vpc_id), living))
    if known is not None:
        raise AlreadyExists(_KIND, f"A VPC peering connection between {vpc_id} and {peer_vpc_id} exists: {known}")
    quotas.check(
        tx,
        account_id,
        quotas.OUTSTANDING_PEERINGS,
        _row.id,
        _row.requester_vpc_id == vpc_id,
        _row.status == PENDING,
    )


def _overlap(tx: Transaction, vpc_id: str, other_vpc_id: str) -> bool:
    """Tell whether any block of one VPC overlaps one of the other (a VPC overlaps itself)."""
    mine = [ipaddress.ip_network(block) for block in peered_vpcs.blocks_of(tx, vpc_id)]
    theirs = [ipaddress.ip_network(block) for block in peered_vpcs.blocks_of(tx, other_vpc_id)]
    return any(one.overlaps(other) for one in mine for other in theirs)


def _end(tx: Transaction, row: VpcPeeringConnection, status: str, message: str, now: datetime) -> None:
    was_active = row.status == ACTIVE
    row.status, row.message, row.expires, row.ended = status, message, None, now
    tx.session.flush()
    if was_active:
        notify_hosts.peering(tx, row)
