"""Wakes watchers of instances at commits: pushed, never polled."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from stead_controller.db.wakes import Wakes


class InstanceEvents:
    """Notifies watchers which instances changed; `committed` may be called from any thread."""

    def __init__(self) -> None:
        """Serve watchers on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._watchers: set[_Watcher] = set()

    def committed(self, tx: Wakes) -> None:
        """Pass on the instances that a transaction changed."""
        if tx.events and self._watchers:  # a watcher that starts now reads the committed state
            self._loop.call_soon_threadsafe(self._notify, frozenset(tx.events))

    @contextmanager
    def watch(self) -> Iterator["_Watcher"]:
        """Collect changes for as long as the context lasts."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def _notify(self, instance_ids: frozenset[str]) -> None:
        for watcher in self._watchers:
            watcher.add(instance_ids)


class _Watcher:
    """The ids that changed since the last `take`: a slow watcher gets each once, not once per change."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    def add(self, instance_ids: frozenset[str]) -> None:
        """Add changed ids."""
        self._changed |= instance_ids
        self._wake.set()

    async def take(self) -> set[str]:
        """Wait for changes and return their ids."""
        await self._wake.wait()
        self._wake.clear()
        changed, self._changed = self._changed, set()
        return changed
