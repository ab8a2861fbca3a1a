"""Whole cores of hosts, with their huge pages: which instance has which; a row is one core, so it has one holder.

Nothing is read for an instance that needs none.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, case, func, select, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Host, HostCore, HostDevice
from stead_controller.placement.cores import Core, CoreNeed, Node, choose
from stead_controller.placement.room import Room
from stead_controller.request.transaction import Transaction

FREE: Final = (
    select(func.count())
    .where(HostCore.host_id == Host.id, HostCore.instance_id.is_(None), HostCore.gone.is_(False))
    .correlate(Host)
    .scalar_subquery()
)
"""The number of a host's cores that no instance has, whatever their node: a column, for a condition."""
_COLUMNS: Final = (
    Host.zone,
    HostCore.host_id,
    HostCore.numa_node,
    HostCore.number,
    HostCore.threads,
    HostCore.gone,
    HostCore.instance_id,
    HostCore.huge_pages,
    Host.huge_pages.label("of_nodes"),
)
_OF_HOSTS: Final = Prepared(
    select(*_COLUMNS)
    .join(Host, Host.id == HostCore.host_id)
    .where(HostCore.host_id.in_(bindparam("hosts", expanding=True)))
    .order_by(HostCore.host_id, HostCore.numa_node, HostCore.number)
)


def with_cores(tx: Transaction, rooms: Iterable[Room], need: CoreNeed | None) -> Iterable[Room]:
    """Return rooms with the memory nodes of their hosts, if whole cores are needed."""
    if need is None:
        return rooms
    rooms = list(rooms)
    found = _nodes(tx, [room.host_id for room in rooms])
    return [room._replace(nodes=found.get(room.host_id, ())) for room in rooms]


def all_nodes(tx: Transaction) -> dict[tuple[str, str], tuple[Node, ...]]:
    """Return the nodes of all hosts that set cores apart, by zone and host, as if no instance had any."""
    hosts = tx.session.scalars(select(HostCore.host_id).distinct()).all()
    return {
        (rows[0].zone, host_id): _as_nodes([row for row in rows if not row.gone], held=False)
        for host_id, rows in _rows(tx, hosts).items()
    }


def take(tx: Transaction, host_id: str, instance_id: str, need: CoreNeed | None) -> bool:
    """Give an instance, whose row is written, the cores that it needs; False, and nothing given, if they are taken.

    Nodes of its devices are preferred. Each core is taken only if nobody has it. Huge pages are counted by what holders
    of cores have: all who take some have written the host's row before (`capacity`), so they come one after the other.
    """
    if need is None:
        return True
    near = tx.session.scalars(select(HostDevice.numa_node).where(HostDevice.instance_id == instance_id)).all()
    chosen = choose(_nodes(tx, [host_id]).get(host_id, ()), need, near)
    if chosen is None:
        return False
    tx.session.flush()
    taken = tx.session.execute(
        update(HostCore)
        .where(HostCore.host_id == host_id, HostCore.number.in_(chosen.cores), HostCore.instance_id.is_(None))
        .values(
            instance_id=instance_id,
            huge_pages=case((HostCore.number == chosen.cores[0], need.huge_pages), else_=0),
        )
        .returning(HostCore.number)
        .execution_options(synchronize_session=False)
    ).all()
    if len(taken) == len(chosen.cores):
        return True
    release(tx, instance_id)
    return False


def release(tx: Transaction, instance_id: str) -> None:
    """Return the cores of an instance and its huge pages; others may have them."""
    tx.session.execute(
        update(HostCore)
        .where(HostCore.instance_id == instance_id)
        .values(instance_id=None, huge_pages=0)
        .execution_options(synchronize_session=False)
    )


def _nodes(tx: Transaction, hosts: Collection[str]) -> dict[str, tuple[Node, ...]]:
    return {host_id: _as_nodes(rows, held=True) for host_id, rows in _rows(tx, hosts).items()}


def _rows(tx: Transaction, hosts: Collection[str]) -> dict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for row in _OF_HOSTS.named(tx.connection, {"hosts": list(hosts)}) if hosts else ():
        found[row.host_id].append(row)
    return found


def _as_nodes(rows: Sequence[Any], *, held: bool) -> tuple[Node, ...]:
    """Return the nodes of one host; unless `held` counts, all that instances have is free."""
    cores: defaultdict[int, list[Core]] = defaultdict(list)
    pages: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        free = not held or (row.instance_id is None and not row.gone)
        cores[row.numa_node].append(Core(row.number, len(row.threads), free))
        pages[row.numa_node] += row.huge_pages if held else 0
    return tuple(
        Node(number, tuple(found), rows[0].of_nodes.get(str(number), 0) - pages[number])
        for number, found in sorted(cores.items())
    )
