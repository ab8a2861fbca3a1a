"""Which hosts are alive: heartbeats are kept in memory and written together, the silent are marked down."""

import logging
from datetime import datetime, timedelta

from sqlalchemy import select, update

from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Host

_log = logging.getLogger(__name__)


class Liveness:
    """When each host was last heard of."""

    def __init__(self, clock: Clock, timeout_seconds: int) -> None:
        """Take the silence, in seconds, after which a host counts as down."""
        self._clock = clock
        self._timeout = timedelta(seconds=timeout_seconds)
        self._heard: dict[str, datetime] = {}

    def seen(self, host_id: str) -> None:
        """Note that a host was heard of just now."""
        self._heard[host_id] = self._clock()

    async def write(self, database: Database) -> None:
        """Write what was heard since the last time, and mark the silent hosts down; one transaction."""
        heard, self._heard = self._heard, {}
        now = self._clock()
        went_down = await database.run(lambda tx: _write(tx, heard, now - self._timeout))
        for host_id in went_down:
            _log.warning("host_down", extra={"host": host_id})


def _write(tx: Transaction, heard: dict[str, datetime], limit: datetime) -> list[str]:
    if heard:
        tx.session.execute(
            update(Host), [{"id": host_id, "last_seen": seen, "state": "up"} for host_id, seen in heard.items()]
        )
    silent = list(
        tx.session.scalars(select(Host.id).where(Host.state == "up", Host.last_seen < limit).with_for_update())
    )
    if silent:
        tx.session.execute(update(Host).where(Host.id.in_(silent)).values(state="down"))
    return silent
