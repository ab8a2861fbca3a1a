"""Writes what many hosts report at the same time in one transaction: a commit costs more than most of the writes."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from stead_controller.db.session import Database, Transaction

_MOST: Final = 64


class Together[Item, Result]:
    """Writes items in shared transactions, in order; an item that cannot be written is undone without the others.

    `write` gets several items at once, so that it can look up rows for all of them together, and returns a result each.
    They go before calls that wait to write.
    """

    def __init__(self, database: Database, write: Callable[[Transaction, Sequence[Item]], Sequence[Result]]) -> None:
        """Set the database; to be used on one event loop."""
        self._database = database
        self._write = write
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def run(self, item: Item) -> Result:
        """Write an item and return its result once it is committed; raises what `write` raises for it alone."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
            try:
                results = await self._database.run(partial(self._write_all, [item for item, _ in batch]), urgent=True)
            except Exception:  # one failed, and all were undone: each is written alone, so its caller gets the error
                for item, future in batch:
                    await self._alone(item, future)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _alone(self, item: Item, future: asyncio.Future[Result]) -> None:
        try:
            (result,) = await self._database.run(partial(self._write_all, [item]), urgent=True)
        except Exception as error:  # it is raised to the caller that awaits the future
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)

    def _write_all(self, items: Sequence[Item], tx: Transaction) -> Sequence[Result]:
        return self._write(tx, items)
