"""What hosts fail at is kept as long as they do, for operators; that all is well is not written at all."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select, tuple_

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, HostError
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_LENGTH: Final = 2000
UNCLAIMED: Final = (
    "this host has it and the database, which is older, does not know it; it stays as it is until a newer database is "
    "put back, or `stead host discard` removes it"
)
_OF_HOSTS: Final = Prepared(
    select(HostError.host_id, HostError.kind, HostError.resource_id).where(
        HostError.host_id.in_(bindparam("host_ids", expanding=True))
    )
)


def of_hosts(tx: Transaction, host_ids: Sequence[str]) -> dict[str, set[tuple[int, str]]]:
    """What hosts fail at, by host: kinds and ids; hosts that fail at nothing are not named."""
    found: dict[str, set[tuple[int, str]]] = defaultdict(set)
    if host_ids:
        for host_id, kind, resource_id in _OF_HOSTS.all(tx.connection, {"host_ids": list(host_ids)}):
            found[host_id].add((kind, resource_id))
    return found


def note(tx: Transaction, host_id: str, statuses: Iterable[pb.ResourceStatus], now: datetime) -> None:
    """Write what a host fails at now, and strike out what it no longer does."""
    failed, well = [], []
    for status in statuses:
        if status.condition == pb.CONDITION_FAILED:
            failed.append({"kind": status.kind, "resource_id": status.id, "error": status.error[:_LENGTH]})
        elif status.condition == pb.CONDITION_UNCLAIMED:
            failed.append({"kind": status.kind, "resource_id": status.id, "error": UNCLAIMED})
        elif status.condition in (pb.CONDITION_READY, pb.CONDITION_ABSENT):
            well.append((status.kind, status.id))
    if well:
        tx.session.execute(
            delete(HostError)
            .where(HostError.host_id == host_id, tuple_(HostError.kind, HostError.resource_id).in_(well))
            .execution_options(synchronize_session=False)
        )
    if failed and tx.session.get(Host, host_id) is not None:
        upsert(tx.session, HostError, [{"host_id": host_id, "since": now, **each} for each in failed], keep=("since",))


def note_base(tx: Transaction, host_id: str, base_id: str, error: str, now: datetime) -> None:
    """Note that a host cannot fetch a base of its volumes: while that comes, its guests wait and it says nothing."""
    row = {"host_id": host_id, "kind": int(desired.KIND_BASE), "resource_id": base_id, "error": error[:_LENGTH]}
    if tx.session.get(Host, host_id) is not None:
        upsert(tx.session, HostError, [{**row, "since": now}], keep=("since",))


def strike_out(tx: Transaction, kind: int, resource_id: str) -> None:
    """Forget what hosts fail at of a resource that is gone: not each of them says so of a part of a VPC."""
    tx.session.execute(
        delete(HostError)
        .where(HostError.kind == kind, HostError.resource_id == resource_id)
        .execution_options(synchronize_session=False)
    )
