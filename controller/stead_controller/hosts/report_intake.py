"""Stores reports of hosts in batches; a report that cannot be stored does not hold up the others.

Ending the session would not help: the agent says Hello and reports the same again. So a status that causes an exception
is left out, logged, and shown as an error of its resource, while all others are stored.
"""

import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.desired import host_errors
from stead_controller.desired.batched_writes import Together
from stead_controller.hosts import facts, reports
from stead_proto.v1 import host_pb2 as pb

_log = logging.getLogger(__name__)

# The database is unavailable, full or overloaded: not caused by the report, which must be sent again as a whole.
_AWAY: Final = (InterfaceError, NoConnectionError, OperationalError, OSError)

type _Report = tuple[str, Sequence[pb.ResourceStatus], int | None]  # the host, what it reports, in which session


class SessionOver(Exception):
    """The host has said Hello again since the session to which this belongs."""


class ReportIntake:
    """Writes reports; to be used on one event loop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._clock = clock
        self._together = Together(database, self._apply)

    async def take(
        self, host_id: str, statuses: Sequence[pb.ResourceStatus], session: int | None = None
    ) -> set[tuple[int, str]]:
        """Write what a host reports, and return the kinds and ids of what was left out once all is committed.

        Raises SessionOver where the host has said Hello again since this session of it, perhaps to another controller:
        then it has reported all again, and this may be older. Other errors mean that the database is unavailable.
        """
        try:
            await self._together.run((host_id, statuses, session))
        except (SessionOver, *_AWAY):
            raise
        except Exception as error:  # a bug that one of them triggers: it is found by bisection
            if len(statuses) == 1:
                await self._leave_out(host_id, statuses[0], error)
                return {(statuses[0].kind, statuses[0].id)}
            middle = len(statuses) // 2
            return await self.take(host_id, statuses[:middle], session) | await self.take(
                host_id, statuses[middle:], session
            )
        return set()

    def _apply(self, tx: Transaction, progress: Sequence[_Report]) -> Sequence[None]:
        present = facts.sessions(tx, {host_id for host_id, _, session in progress if session is not None})
        for host_id, _, session in progress:
            if session is not None and present.get(host_id) != session:
                raise SessionOver(host_id)
        reports.apply_progress(tx, [(host_id, statuses) for host_id, statuses, _ in progress], self._clock())
        return [None] * len(progress)

    async def _leave_out(self, host_id: str, status: pb.ResourceStatus, error: Exception) -> None:
        """Log a status that cannot be stored, and show it to operators as an error of its resource."""
        about = {"host": host_id, "kind": status.kind, "id": status.id, "error": repr(error)}
        _log.error("host_status_left_out", extra=about, exc_info=error)
        failed = pb.ResourceStatus(kind=status.kind, id=status.id, condition=pb.CONDITION_FAILED)
        failed.error = f"the controller cannot take over its report: {error!r}"
        try:
            await self._database.run(lambda tx: host_errors.note(tx, host_id, [failed], self._clock()))
        except _AWAY:
            raise
        except Exception as second:  # the id itself may cause the failure; then it is only logged
            _log.warning("host_status_not_noted", extra=about | {"error": repr(second)})
