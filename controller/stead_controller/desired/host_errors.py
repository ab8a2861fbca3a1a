"""Errors of hosts are stored as long as they last, for operators; success is not stored at all."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select, tuple_

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared, Question
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, HostError
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_LENGTH: Final = 2000
UNCLAIMED: Final = (
    "this host has it and the database, which is older, does not know it; it stays as it is until a newer database is "
    "put back, or `stead unclaimed` adopts or removes it"
)
"""The error of what a host has and this database does not know; errors of hosts never have this text."""
_OF_HOSTS: Final = Prepared(
    select(HostError.host_id, HostError.kind, HostError.resource_id).where(
        HostError.host_id.in_(bindparam("host_ids", expanding=True))
    )
)


def question(host_ids: Sequence[str]) -> Question:
    """Return what `of_hosts` asks, so that the database can answer it with others."""
    return _OF_HOSTS, {"host_ids": host_ids}


def of_hosts(tx: Transaction, host_ids: Sequence[str]) -> dict[str, set[tuple[int, str]]]:
    """Return the kinds and ids of resources in error, by host; hosts without errors are left out."""
    found: dict[str, set[tuple[int, str]]] = defaultdict(set)
    if host_ids:
        for host_id, kind, resource_id in _OF_HOSTS.all(tx.connection, {"host_ids": list(host_ids)}):
            found[host_id].add((kind, resource_id))
    return found


def note(tx: Transaction, host_id: str, statuses: Iterable[pb.ResourceStatus], now: datetime) -> None:
    """Store the present errors of a host, and delete those that no longer exist."""
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
    """Store that a host cannot fetch a base of its volumes: meanwhile its guests wait and the host reports nothing."""
    row = {"host_id": host_id, "kind": int(desired.KIND_BASE), "resource_id": base_id, "error": error[:_LENGTH]}
    if tx.session.get(Host, host_id) is not None:
        upsert(tx.session, HostError, [{**row, "since": now}], keep=("since",))


def strike_out(tx: Transaction, kind: int, resource_id: str) -> None:
    """Delete hosts' errors of a resource that is gone: for a part of a VPC not every host reports that."""
    tx.session.execute(
        delete(HostError)
        .where(HostError.kind == kind, HostError.resource_id == resource_id)
        .execution_options(synchronize_session=False)
    )
