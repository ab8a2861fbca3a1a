"""The desired state that only one host is sent: its own network, images, volumes, machines, interfaces, NAT gateways.

Callers change rows first, then write the messages that they compute from them, in the same transaction; only what
differs from the outbox is written. A removal is retained until the host has reached its revision.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from google.protobuf.message import Message
from sqlalchemy import bindparam, delete, select

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import HostResource
from stead_controller.desired.messages.body import Key, encode
from stead_controller.desired.revisions import next_revision

_DESIRED: Final = Prepared(
    select(HostResource.kind, HostResource.resource_id, HostResource.body, HostResource.force).where(
        HostResource.host_id == bindparam("host_id"),
        HostResource.kind.in_(bindparam("kinds", expanding=True)),  # else all that the host has is read
        HostResource.resource_id.in_(bindparam("resource_ids", expanding=True)),
    )
)


def write(
    tx: Transaction, host_id: str, wanted: Mapping[Key, Message], *, gone: Iterable[Key] = (), force: bool = False
) -> None:
    """Write to a host's outbox what differs from it; messages are bodies of `stead.v1.Resource`."""
    bodies: dict[Key, bytes | None] = {key: encode(key[1], body) for key, body in wanted.items()}
    bodies.update(dict.fromkeys(gone))
    if not bodies:
        return
    asked = {
        "host_id": host_id,
        "kinds": sorted({kind for kind, _ in bodies}),
        "resource_ids": [resource_id for _, resource_id in bodies],
    }
    known = {
        (kind, resource_id): (body, forced) for kind, resource_id, body, forced in _DESIRED.all(tx.connection, asked)
    }
    changes = []
    for key, body in bodies.items():
        before = known.get(key)
        forced = body is None and force
        if before == (body, forced) or (before is None and body is None):
            continue
        changes.append({"kind": key[0], "resource_id": key[1], "body": body, "force": forced})
    if changes:
        revision = next_revision(tx)
        upsert(tx.session, HostResource, [{"host_id": host_id, "revision": revision, **change} for change in changes])


def write_each(tx: Transaction, key: Key, bodies: Mapping[str, bytes]) -> None:
    """Write one resource that each of many hosts has, where it differs; encoded bodies by host id."""
    kind, resource_id = key
    rows = select(HostResource.host_id, HostResource.body).where(
        HostResource.kind == kind, HostResource.resource_id == resource_id
    )
    if len(bodies) == 1:
        rows = rows.where(HostResource.host_id.in_(list(bodies)))
    known = dict(tx.session.execute(rows).all())
    changes = [
        {"host_id": host_id, "kind": kind, "resource_id": resource_id, "body": body, "force": False}
        for host_id, body in bodies.items()
        if known.get(host_id) != body
    ]
    if changes:
        revision = next_revision(tx)
        upsert(tx.session, HostResource, [{**change, "revision": revision} for change in changes])


def removal_pending(tx: Transaction, host_id: str, key: Key) -> bool:
    """Tell whether a host must remove a resource and has not confirmed it."""
    row = tx.session.get(HostResource, (host_id, *key))
    return row is not None and row.body is None


def forget_removal(tx: Transaction, host_id: str, key: Key) -> None:
    """Delete a removal that the host has confirmed, before the host has reached that revision with everything else."""
    kind, resource_id = key
    tx.session.execute(
        delete(HostResource)
        .where(
            HostResource.host_id == host_id,
            HostResource.kind == kind,
            HostResource.resource_id == resource_id,
            HostResource.body.is_(None),
        )
        .execution_options(synchronize_session=False)
    )


def remove_each(tx: Transaction, key: Key, host_ids: Collection[str]) -> None:
    """Take a resource out of the desired state of many hosts, which all have it."""
    if host_ids:
        gone = {"kind": key[0], "resource_id": key[1], "body": None, "force": False, "revision": next_revision(tx)}
        upsert(tx.session, HostResource, [{"host_id": host_id, **gone} for host_id in host_ids])


def is_desired(tx: Transaction, host_id: str, kind: int, resource_id: str) -> bool:
    """Tell whether a resource is part of a host's desired state."""
    row = tx.session.get(HostResource, (host_id, kind, resource_id))
    return row is not None and row.body is not None
