"""The database for those who must get an answer in time, also where its server is gone or hangs."""

import math
from collections.abc import Callable

from stead_controller.db.session import Database, Transaction


class Answered(Database):
    """A database whose transactions raise Unavailable where PostgreSQL's server is gone, or has hung for a while."""

    def __init__(self, database: Database, within: float) -> None:
        """Set after how many seconds."""
        self._inner = database
        self._within = within
        self.engine = database.engine
        self.id = database.id

    async def run[T](
        self,
        function: Callable[[Transaction], T],
        *,
        writes: bool = True,
        dry_run: bool = False,
        urgent: bool = False,
        within: float = math.inf,
        answered_within: float = math.inf,
    ) -> T:
        """Do the same as the database, answered in time."""
        waits = {"within": within, "answered_within": min(answered_within, self._within)}
        return await self._inner.run(function, writes=writes, dry_run=dry_run, urgent=urgent, **waits)
