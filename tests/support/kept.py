"""What hosts keep of changes that a database has lost, and the rows that it had: an older copy of it was put back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stead_agent.reconcile.unclaimed import what_it_has
from stead_agent.wanted import SHARED_KINDS, Change, Key, Wanted, key_of
from stead_controller.desired.changes import Reader
from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.storage import volume_keys
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import NOW
from tests.unit.controller.db.rows import Rows, rows_of


@dataclass
class Kept:
    """What is lost: `made` is what the lost changes returned, `rows` all rows as they were after these."""

    made: Any
    rows: Rows
    hosts: dict[str, Wanted]

    def statuses(self, host_id: str) -> list[pb.ResourceStatus]:
        """What a host reports of all that is unclaimed."""
        wanted = self.hosts[host_id]
        return [
            pb.ResourceStatus(
                kind=key.kind,
                id=key.id,
                revision=1,
                condition=pb.CONDITION_UNCLAIMED,
                unclaimed=what_it_has(wanted, key),
            )
            for key in sorted(wanted.unclaimed)
            if key.kind in REPORTED
        ]

    def resource(self, kind: "desired.Kind.ValueType", resource_id: str) -> desired.Resource:
        """One that a host keeps, which a test may change before it is reported."""
        return next(
            each.resources[Key(kind, resource_id)]
            for each in self.hosts.values()
            if (kind, resource_id) in each.resources
        )


REPORTED = frozenset(
    {
        desired.KIND_VPC,
        desired.KIND_BASE,
        desired.KIND_VOLUME,
        desired.KIND_SNAPSHOT,
        desired.KIND_INTERFACE,
        desired.KIND_MACHINE,
        desired.KIND_NAT_GATEWAY,
        desired.KIND_ENDPOINT_INTERFACE,
        *(SHARED_KINDS - {desired.KIND_MAPPING}),
    }
)
"""Kinds of which a host reports that they are unclaimed."""


def lose(database: Any, cloud: Any, host_ids: list[str], make: Callable[[Any], Any]) -> Kept:
    """Make changes in a transaction that is undone, as if a copy of before had been put back; its hosts keep all."""

    def read(tx: Any) -> dict[str, dict[Key, desired.Resource]]:
        reader = Reader(tx, lambda sealed: cloud.sealer.open(sealed, volume_keys.CONTEXT))
        found = {}
        for host_id in host_ids:
            state = reader.everything(host_id).message.state
            found[host_id] = {key: each for each in state.resources if (key := key_of(each)) is not None}
        return found

    def then(tx: Any) -> tuple[Any, Rows, dict[str, dict[Key, desired.Resource]]]:
        made = make(tx)
        tx.session.flush()
        return made, rows_of(tx.connection), read(tx)

    made, rows, newer = database.run_blocking(then, dry_run=True)
    older = database.run_blocking(read, writes=False)
    hosts = {}
    for host_id, resources in newer.items():
        wanted = Wanted()
        unclaimed = frozenset(resources) - frozenset(older[host_id])
        wanted.install(Change(1, "epoch", full=True, put=tuple(resources.values()), unclaimed=unclaimed))
        hosts[host_id] = wanted
    return Kept(made, rows, hosts)


def report(database: Any, kept: Kept) -> None:
    """Let the hosts report what they keep."""
    for host_id in kept.hosts:
        database.run_blocking(lambda tx, host_id=host_id: apply_progress(tx, [(host_id, kept.statuses(host_id))], NOW))


def differences(before: Rows, after: Rows, ignored: Mapping[str, frozenset[str]]) -> list[str]:
    """Say what differs between the rows of tables in `ignored`, each without some columns."""
    found = []
    for table, without in ignored.items():
        one, other = (
            [{k: v for k, v in row.items() if k not in without} for row in rows[table]] for rows in (before, after)
        )
        key = lambda row: sorted(map(str, row.items()))  # noqa: E731 - used once
        one, other = sorted(one, key=key), sorted(other, key=key)
        if len(one) != len(other):
            found.append(f"{table}: {len(one)} rows, then {len(other)}")
        found += [
            f"{table}.{name}: {row[name]!r}, then {now[name]!r}"
            for row, now in zip(one, other, strict=False)
            for name in row
            if row[name] != now[name]
        ]
    return found


def of(host_id: str, *resources: desired.Resource) -> Kept:
    """What one host keeps, given by hand."""
    wanted = Wanted()
    keys = frozenset(key for each in resources if (key := key_of(each)) is not None)
    wanted.install(Change(1, "epoch", full=True, put=resources, unclaimed=keys))
    return Kept(None, {}, {host_id: wanted})
