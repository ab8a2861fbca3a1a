"""What many hosts say at the same time is written in one transaction: a commit costs more than most of that."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from stead_controller.db.session import Database, Transaction

_MOST: Final = 64


class Together:
    """Runs functions in shared transactions, in order; one that raises is undone without the others."""

    def __init__(self, database: Database) -> None:
        """Take the database; to be used on one event loop."""
        self._database = database
        self._waiting: deque[tuple[Callable[[Transaction], Any], asyncio.Future[Any]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def run[T](self, function: Callable[[Transaction], T]) -> T:
        """Do what `Database.run` does; the commit may be shared with others."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((function, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
            functions = [function for function, _ in batch]
            try:
                results = await self._database.run(partial(_all, functions=functions))
            except Exception:  # one of them failed, and all were undone: each alone tells whoever asked for it
                for function, future in batch:
                    await self._alone(function, future)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _alone(self, function: Callable[[Transaction], Any], future: asyncio.Future[Any]) -> None:
        try:
            result = await self._database.run(function)
        except Exception as error:  # it belongs to who waits for the future
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)


def _all(tx: Transaction, functions: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
    results = []
    for function in functions:
        results.append(function(tx))
        tx.session.flush()  # the next one must find it
    return results
