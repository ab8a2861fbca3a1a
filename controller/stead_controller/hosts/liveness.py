"""Which hosts are alive and how far they are: kept in memory and written together; the silent are marked down."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, case, select, update

from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Host
from stead_controller.hosts import pools
from stead_proto.v1 import host_pb2 as pb

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Heard:
    """What was heard of a host: when, the revision that it was sent, the one up to which it has done all, its pools."""

    at: datetime
    sent: int = 0
    reached: int = 0
    pools: dict[str, pb.StoragePool] = field(default_factory=dict)


class Liveness:
    """When each host was last heard of, and how far it was."""

    def __init__(self, clock: Clock, timeout_seconds: int) -> None:
        """Take the silence, in seconds, after which a host counts as down."""
        self._clock = clock
        self._timeout = timedelta(seconds=timeout_seconds)
        self._heard: dict[str, _Heard] = {}
        self._room: dict[tuple[str, str], tuple[int, int]] = {}  # what was heard last of each pool: most is no news

    def seen(self, host_id: str, *, sent: int = 0, reached: int = 0, pools: Iterable[pb.StoragePool] = ()) -> None:
        """Note that a host was heard of just now, how far it is, and how much room its pools have."""
        at = self._clock()
        heard = self._heard.get(host_id)
        if heard is None:
            heard = self._heard[host_id] = _Heard(at)
        heard.at = at
        for pool in pools:
            room = (pool.total, pool.free)
            if self._room.get((host_id, pool.name)) != room:
                self._room[host_id, pool.name] = room
                heard.pools[pool.name] = pool
        heard.sent = max(heard.sent, sent)
        heard.reached = max(heard.reached, reached)

    async def write(self, database: Database) -> None:
        """Write what was heard since the last time, and mark the silent hosts down; one transaction.

        What is lost with the process is heard again: each agent says after its Hello how far it is.
        """
        heard, self._heard = self._heard, {}
        now = self._clock()
        went_down = await database.run(lambda tx: _write(tx, heard, now - self._timeout))
        for host_id in went_down:
            _log.warning("host_down", extra={"host": host_id})


def _later(name: str) -> object:
    column = getattr(Host, name)
    return case((column < bindparam(f"new_{name}"), bindparam(f"new_{name}")), else_=column)


_HEARD: Final = (
    update(Host)
    .where(Host.id == bindparam("host_id"))
    .values(
        last_seen=bindparam("seen"),
        state="up",
        revision=_later("revision"),
        revision_reached=_later("revision_reached"),
    )
    .execution_options(synchronize_session=False)
)


def _write(tx: Transaction, heard: dict[str, _Heard], limit: datetime) -> list[str]:
    if heard:
        rows = [
            {"host_id": host_id, "seen": each.at, "new_revision": each.sent, "new_revision_reached": each.reached}
            for host_id, each in sorted(heard.items())
        ]
        tx.session.connection().execute(_HEARD, rows)
        pools.note_room(
            tx, [(host_id, pool) for host_id, each in sorted(heard.items()) for pool in each.pools.values()]
        )
    silent = list(
        tx.session.scalars(select(Host.id).where(Host.state == "up", Host.last_seen < limit).with_for_update())
    )
    if silent:
        tx.session.execute(update(Host).where(Host.id.in_(silent)).values(state="down"))
    return silent
