"""Handles what becomes due by time alone: launches past their deadline, records to delete.

A loop without input: it reads everything that is due, handles it, and stores no progress. All deadlines are
found by index.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, exists, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import (
    CapacityReservation,
    ClientToken,
    DedicatedHost,
    EndedCidrBlock,
    EnrolmentToken,
    HostError,
    HostToken,
    Instance,
    InstanceEvent,
    NatGateway,
    PublicAddress,
    Reservation,
    Snapshot,
    SnapshotTier,
    SpotRequest,
    Tag,
    VpcEndpointInterface,
    VpcPeeringConnection,
)
from stead_controller.db.tables.base import Base
from stead_controller.desired.forgetting import forget_removals
from stead_controller.hosts.reports import give_up_launch, give_up_recovery
from stead_controller.metering import amounts
from stead_controller.request.client_tokens import LIFETIME
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.fleet import capacity_reservations, dedicated_hosts, waiting_spot_requests
from stead_controller.resources.instances import (
    instance_event_windows,
    instance_events,
    root_replacement,
    spot_interruptions,
    volume_attachments,
)
from stead_controller.resources.network import (
    ended_cidr_blocks,
    nat_gateways,
    vpc_endpoint_interfaces,
    vpc_peering_connections,
)
from stead_controller.resources.storage import snapshot_life, snapshot_tier_life, written_snapshots
from stead_controller.settings import Settings

_BATCH: Final = 500
_NOT: Final = timedelta()
_SILENCE: Final = timedelta(hours=1)  # of a host, after which its snapshots are not awaited any longer


_TABLES: Final = (
    CapacityReservation,
    ClientToken,
    DedicatedHost,
    EndedCidrBlock,
    EnrolmentToken,
    HostError,
    HostToken,
    Instance,
    InstanceEvent,
    NatGateway,
    PublicAddress,
    Snapshot,
    SnapshotTier,
    SpotRequest,
    VpcEndpointInterface,
    VpcPeeringConnection,
)
# Without rows in them there is nothing to do, as in most of them most clouds have none.
_HAS_ROWS: Final = Prepared(select(*(exists().select_from(table) for table in _TABLES)))


def clean_up(tx: Transaction, settings: Settings, now: datetime, clock_ran_ahead: timedelta = _NOT) -> bool:
    """Handle what is due now, in one transaction; tell whether more terminated instances are due than one deletes.

    `clock_ran_ahead` is by how much the clock was set forward during the launch deadline, which is extended by it.
    """
    late = now - timedelta(seconds=settings.launch_deadline_seconds) - clock_ran_ahead
    old = now - timedelta(seconds=settings.terminated_kept_seconds)
    rested = now - timedelta(seconds=settings.address_rest_seconds)
    patience = timedelta(seconds=settings.snapshot_deadline_seconds)
    (row,) = _HAS_ROWS.all(tx.connection, {})
    used = {table for table, has_rows in zip(_TABLES, row, strict=True) if has_rows}
    forgotten = 0
    if Instance in used:
        _end_late_launches(tx, late, now)
        _end_late_recoveries(tx, late, now)
        forgotten = _forget_terminated(tx, old)
        spot_interruptions.end_due(tx, now, clock_ran_ahead)
    works: tuple[tuple[type[Base], Callable[[], object]], ...] = (
        (NatGateway, lambda: _end_late_gateways(tx, late, now)),
        (NatGateway, lambda: _forget_gateways(tx, old)),
        (VpcEndpointInterface, lambda: vpc_endpoint_interfaces.place_waiting(tx)),
        (Snapshot, lambda: snapshot_life.fail_late(tx, now, patience, _SILENCE)),
        (Snapshot, lambda: written_snapshots.fail_late(tx, now)),
        (SnapshotTier, lambda: snapshot_tier_life.archive_again(tx, now)),
        (HostError, lambda: volume_attachments.end_damaged(tx)),
        (PublicAddress, lambda: tx.session.execute(delete(PublicAddress).where(PublicAddress.released <= rested))),
        (ClientToken, lambda: tx.session.execute(delete(ClientToken).where(ClientToken.created <= now - LIFETIME))),
        (VpcPeeringConnection, lambda: vpc_peering_connections.expire(tx, now)),
        (CapacityReservation, lambda: capacity_reservations.expire(tx, now)),
        (CapacityReservation, lambda: capacity_reservations.forget(tx, old)),
        (SpotRequest, lambda: waiting_spot_requests.expire(tx, now)),
        (SpotRequest, lambda: waiting_spot_requests.forget(tx, old)),
        (InstanceEvent, lambda: instance_events.carry_out(tx, now)),
        (InstanceEvent, lambda: instance_events.forget_old(tx, now)),
        (DedicatedHost, lambda: dedicated_hosts.forget(tx, old)),
        (EndedCidrBlock, lambda: ended_cidr_blocks.forget_old(tx, now)),
        (EnrolmentToken, lambda: tx.session.execute(delete(EnrolmentToken).where(EnrolmentToken.expires <= now))),
        (HostToken, lambda: tx.session.execute(delete(HostToken).where(HostToken.expires <= now))),
    )
    for table, work in works:
        if table in used:
            work()
    forget_removals(tx, now)
    return forgotten == _BATCH


def _end_late_launches(tx: Transaction, since: datetime, now: datetime) -> None:
    """Give up instances that are pending for too long and whose host reports an error."""
    late = select(Instance).where(
        Instance.state == "pending", Instance.state_changed <= since, Instance.host_error != ""
    )
    for instance in tx.session.scalars(late.limit(_BATCH)).all():
        give_up_launch(tx, instance, now)


def _end_late_recoveries(tx: Transaction, since: datetime, now: datetime) -> None:
    """Stop instances whose machine failed and is not started again in time, and whose host reports an error."""
    late = select(Instance).where(
        Instance.recovery_began <= since, Instance.state == "running", Instance.host_error != ""
    )
    for instance in tx.session.scalars(late.limit(_BATCH)).all():
        give_up_recovery(tx, instance, now)


def _end_late_gateways(tx: Transaction, since: datetime, now: datetime) -> None:
    """Give up NAT gateways that are pending for too long and whose host reports an error."""
    late = select(NatGateway).where(
        NatGateway.state == "pending", NatGateway.state_changed <= since, NatGateway.host_error != ""
    )
    for gateway in tx.session.scalars(late.limit(_BATCH)).all():
        nat_gateways.give_up(tx, gateway, now)


def _forget_gateways(tx: Transaction, since: datetime) -> None:
    """Delete the rows of NAT gateways that were deleted or failed a while ago."""
    old = list(
        tx.session.scalars(
            select(NatGateway.id)
            .where(NatGateway.state.in_(("deleted", "failed")), NatGateway.state_changed <= since)
            .limit(_BATCH)
        )
    )
    tags.remove_all(tx, old)
    amounts.forget(tx, old)
    tx.session.execute(delete(NatGateway).where(NatGateway.id.in_(old)))


def _forget_terminated(tx: Transaction, since: datetime) -> int:
    """Delete the rows of instances that were terminated a while ago, of a batch at most; return how many."""
    old = list(
        tx.session.scalars(
            select(Instance.id).where(Instance.state == "terminated", Instance.state_changed <= since).limit(_BATCH)
        )
    )
    if not old:
        return 0
    reservations = set(tx.session.scalars(select(Instance.reservation_id).where(Instance.id.in_(old))))
    requests = tx.session.scalars(select(SpotRequest.id).where(SpotRequest.instance_id.in_(old)))
    tx.session.execute(delete(Tag).where(Tag.resource_id.in_([*old, *requests])))
    amounts.forget(tx, old)
    root_replacement.forget(tx, old)
    instance_events.forget(tx, old)
    instance_event_windows.forget_instances(tx, old)
    tx.session.execute(delete(Instance).where(Instance.id.in_(old)))
    used = set(
        tx.session.scalars(select(Instance.reservation_id).where(Instance.reservation_id.in_(reservations)).distinct())
    )
    tx.session.execute(delete(Reservation).where(Reservation.id.in_(reservations - used)))
    return len(old)
