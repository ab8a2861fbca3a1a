"""Which hosts are alive and how far they are: held in memory and written in batches; silent hosts are marked down.

How long a host that this process has heard from is silent is measured on a monotonic clock: when the wall clock is set,
no host is marked down because of that, and none stays up. The wall clock's `last_seen` is used only for other hosts:
those silent since the controller's start, or connected to another controller.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, case, or_, select, update

from stead_controller.clock import Clock
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Host, Instance
from stead_controller.hosts import pools
from stead_proto.v1 import host_pb2 as pb

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Heard:
    """The last report of a host: when, the revision it was sent, the one up to which it has done all, its pools."""

    at: datetime
    sent: int = 0
    reached: int = 0
    pools: dict[str, pb.StoragePool] = field(default_factory=dict)


class Liveness:
    """When each host last reported, and how far it was."""

    def __init__(self, clock: Clock, timeout_seconds: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Set the silence, in seconds, after which a host counts as down."""
        self._clock = clock
        self._monotonic = monotonic
        self._timeout = timedelta(seconds=timeout_seconds)
        self._heard: dict[str, _Heard] = {}
        self._last: dict[str, tuple[float, datetime]] = {}  # when each host last reported here, by both clocks
        self._room: dict[tuple[str, str], tuple[int, int]] = {}  # the last report of each pool: most reports repeat it

    def seen(self, host_id: str, *, sent: int = 0, reached: int = 0, pools: Iterable[pb.StoragePool] = ()) -> None:
        """Store that a host reported just now, how far it is, and how much space its pools have."""
        at = self._clock()
        self._last[host_id] = (self._monotonic(), at)
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

    async def write(self, database: Database) -> set[str]:
        """Write what was reported since the last time, and mark silent hosts down; one transaction.

        Returns the hosts that reported here and are another controller's, by the last Hello that was stored.

        What is lost with the process is reported again: each agent says after its Hello how far it is.
        """
        heard, self._heard = self._heard, {}
        limit = self._clock() - self._timeout
        since = self._monotonic() - self._timeout.total_seconds()
        silent = {host_id: at for host_id, (moment, at) in self._last.items() if moment < since}
        alive = self._last.keys() - silent.keys()
        # Behind many calls it would be so late that another controller takes hosts of this one for silent.
        went_down, elsewhere = await database.run(
            lambda tx: _write(tx, heard, limit, silent, alive, here=database.id), urgent=True
        )
        for host_id, at in silent.items():
            if self._last.get(host_id, (0, None))[1] == at:  # else it has reported in the meantime
                del self._last[host_id]
        for host_id in went_down:
            _log.warning("host_down", extra={"host": host_id})
        return elsewhere


def _later(name: str) -> object:
    column = getattr(Host, name)
    return case((column < bindparam(f"new_{name}"), bindparam(f"new_{name}")), else_=column)


_ELSEWHERE: Final = Prepared(
    select(Host.id).where(Host.id.in_(bindparam("ids", expanding=True)), Host.controller_id != bindparam("here"))
)
# Of a host that is at another controller by now this one may have only what it was told before, as after a pause.
_HEARD: Final = (
    update(Host)
    .where(
        Host.id == bindparam("host_id"),
        or_(
            Host.controller_id.is_(None),
            Host.controller_id == bindparam("here"),
            Host.last_seen < bindparam("seen"),
        ),
    )
    .values(
        last_seen=bindparam("seen"),
        state="up",
        revision=_later("revision"),
        revision_reached=_later("revision_reached"),
    )
    .execution_options(synchronize_session=False)
)


def _write(
    tx: Transaction,
    heard: dict[str, _Heard],
    limit: datetime,
    silent: Mapping[str, datetime],
    alive: Collection[str],
    *,
    here: str,
) -> tuple[list[str], set[str]]:
    """Write what was reported to this controller, whose id is `here`; return who is marked down, and who is elsewhere.

    The room of pools of those at another controller is not written: it knows better after a pause of this one.
    `silent` hosts last reported to this process at that time, and are down unless another controller heard of them
    since; `alive` ones are not, whatever their rows say; others are when their rows have not changed since `limit`.
    """
    elsewhere: set[str] = set()
    if heard:
        elsewhere.update(host_id for (host_id,) in _ELSEWHERE.all(tx.connection, {"ids": sorted(heard), "here": here}))
        rows = [
            {
                "host_id": host_id,
                "here": here,
                "seen": each.at,
                "new_revision": each.sent,
                "new_revision_reached": each.reached,
            }
            for host_id, each in sorted(heard.items())
        ]
        tx.session.connection().execute(_HEARD, rows)
        pools.note_room(
            tx,
            [
                (host_id, pool)
                for host_id, each in sorted(heard.items())
                if host_id not in elsewhere
                for pool in each.pools.values()
            ],
        )
    late = or_(Host.last_seen < limit, Host.id.in_(list(silent)))
    found = select(Host.id, Host.last_seen).where(Host.state == "up", late).with_for_update()
    down = [
        host_id
        for host_id, seen in tx.session.execute(found)
        if host_id not in alive and (host_id not in silent or seen is None or seen <= silent[host_id])
    ]
    if down:
        tx.session.execute(update(Host).where(Host.id.in_(down)).values(state="down"))
        tx.events.update(tx.session.scalars(select(Instance.id).where(Instance.host_id.in_(down))))
    return down, elsewhere
