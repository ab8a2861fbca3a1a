"""A database that leaves everything to another one; subclasses change what is done with a transaction."""

import math
from collections.abc import Callable

from stead_controller.db.session import CommitListener, Database, Transaction
from stead_controller.db.wakes import Wakes


class Around(Database):
    """A database around another one, with all that it has; it opens nothing of its own."""

    def __init__(self, database: Database) -> None:
        """Leave everything to `database`."""
        self._inner = database
        self.engine = database.engine
        self.id = database.id

    def _writing[T](self, function: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        """Return what runs in place of a function that writes."""
        return function

    def _patience(self, answered_within: float) -> float:
        """Return after how many seconds a server that hangs is waited for no more, where a caller asks for some."""
        return answered_within

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
        """Do the same as the other database."""
        return await self._inner.run(
            self._writing(function) if writes else function,
            writes=writes,
            dry_run=dry_run,
            urgent=urgent,
            within=within,
            answered_within=self._patience(answered_within),
        )

    def run_blocking[T](self, function: Callable[[Transaction], T], *, writes: bool = True, dry_run: bool = False) -> T:
        """Do the same as the other database, however long it takes."""
        return self._inner.run_blocking(self._writing(function) if writes else function, writes=writes, dry_run=dry_run)

    def on_commit(self, listener: CommitListener) -> None:
        """Let the other database call `listener`."""
        self._inner.on_commit(listener)

    def before_calls(self, herald: CommitListener) -> None:
        """Let the other database call `herald`."""
        self._inner.before_calls(herald)

    def wake(self, wakes: Wakes) -> None:
        """Tell the other database's listeners."""
        self._inner.wake(wakes)

    def waiting(self, *, writes: bool) -> int:
        """Return how many transactions of the other database wait or run."""
        return self._inner.waiting(writes=writes)

    @property
    def refused(self) -> int:
        """How many transactions the other database did not begin."""
        return self._inner.refused

    def close(self) -> None:
        """Close the other database."""
        self._inner.close()
