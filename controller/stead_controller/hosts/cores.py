"""Stores the cores that hosts set apart for instances; which instance has one is the controller's to say."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import HostCore
from stead_proto.v1 import host_pb2 as pb

_MOST: Final = 4096  # of a host
_MOST_THREADS: Final = 16  # of a core


def of_hosts(tx: Transaction, host_ids: Collection[str]) -> defaultdict[str, list[HostCore]]:
    """Return the known cores of hosts, by host."""
    found: defaultdict[str, list[HostCore]] = defaultdict(list)
    for core in tx.session.scalars(select(HostCore).where(HostCore.host_id.in_(host_ids))):
        found[core.host_id].append(core)
    return found


def take(tx: Transaction, host_id: str, reported: Iterable[pb.WholeCore], rows: Iterable[HostCore]) -> None:
    """Store the cores that a host has set apart now; `rows` are the known ones.

    One that it no longer reports is forgotten; if an instance has it, it cannot be given again.
    """
    known = {row.number: row for row in rows}
    for core in list(reported)[:_MOST]:
        row = known.pop(core.number, None)
        threads = list(core.threads)
        if not threads or len(threads) > _MOST_THREADS or core.number != min(threads):
            continue
        if row is None:
            row = HostCore(host_id=host_id, number=core.number)
            tx.session.add(row)
        row.numa_node = core.numa_node
        row.threads = threads
        row.gone = False
    for lost in known.values():
        if lost.instance_id is None:
            tx.session.delete(lost)
        else:
            lost.gone = True
