"""Lets changes wait after a start with a database that may be an older copy, until hosts have reported what they have.

Which addresses and capacity hosts use that an older database does not know is stored when they report it
(`unclaimed.py`); before that, others might get the same. A database in which a host's last report is recent is not
older: after an ordinary restart nothing waits.
"""

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host

_log = logging.getLogger(__name__)

_SHOWN: Final = 20


def doubtful(tx: Transaction, now: datetime, timeout_seconds: int) -> list[str]:
    """Return the ids of all hosts if this database may be an older copy, else none.

    It may be when no host's last report in it is younger than the silence after which a host is down.
    """
    newest = tx.session.scalar(select(func.max(Host.last_seen)))
    if newest is not None and abs(now - newest) < timedelta(seconds=timeout_seconds):
        return []
    return list(tx.session.scalars(select(Host.id)))


class FirstReports:
    """The hosts that have not reported since the start; to be used on one event loop."""

    def __init__(self, timeout_seconds: int) -> None:
        """Wait for no host longer than this after `expect`: a host may be down for ever."""
        self._timeout = timeout_seconds
        self._awaited: set[str] = set()
        self._all_came = asyncio.Event()
        self._all_came.set()

    def expect(self, host_ids: Collection[str]) -> None:
        """Let changes wait for these hosts; to be called once, at the start."""
        self._awaited.update(host_ids)
        if self._awaited:
            self._all_came.clear()
            _log.warning("changes_wait_for_hosts", extra={"count": len(self._awaited), "seconds": self._timeout})
            asyncio.get_running_loop().call_later(self._timeout, self._give_up)

    def came(self, host_id: str) -> None:
        """Store that a host has nothing that is unknown here, or has reported it."""
        self._awaited.discard(host_id)
        if not self._awaited:
            self._all_came.set()

    async def wait(self) -> None:
        """Return when all of them have reported, or the time for that is over."""
        await self._all_came.wait()

    def _give_up(self) -> None:
        if self._awaited:
            _log.warning("hosts_did_not_report", extra={"hosts": sorted(self._awaited)[:_SHOWN]})
            self._all_came.set()
