"""Which block of a base is fetched next: requested ones, then those that follow them, then all others. No threads."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from stead_agent.disks.bases.block_map import BlockMap, Presence

READ_AHEAD: Final = 4
"""Blocks that are read ahead after a requested one: 2 MiB, which a guest that reads a file needs next."""


class FetchOrder:
    """The blocks that have not arrived; each is requested from the store at most once at a time."""

    def __init__(self, block_map: BlockMap, presence: Presence, *, read_ahead: int = READ_AHEAD) -> None:
        self._block_map = block_map
        self._presence = presence
        self._read_ahead = read_ahead
        self._asked: deque[int] = deque()
        self._ahead: deque[int] = deque()
        self._behind = iter(sorted(block_map.digests))
        self._again: deque[int] = deque()
        self._on_way: set[bytes] = set()
        self._waited_for: set[int] = set()

    @property
    def is_asked(self) -> bool:
        """Tell whether a requested block, or one to be read ahead, is to be fetched."""
        return bool(self._asked or self._ahead)

    def ask(self, block: int) -> None:
        """Have a block that is being read fetched before all others, and those behind it next."""
        self._asked.append(block)
        self._waited_for.add(block)
        for follower in range(block + 1, block + 1 + self._read_ahead):
            if follower in self._block_map.digests:
                self._ahead.append(follower)

    def next_asked(self) -> int | None:
        """Take the next requested block, or one to be read ahead; None when there is none."""
        found = self._take(self._asked)
        return self._take(self._ahead) if found is None else found

    def next_behind(self) -> int | None:
        """Take the next of all other blocks; None when all are there or being fetched."""
        found = self._take(self._again)
        while found is None:
            block = next(self._behind, None)
            if block is None:
                return None
            found = self._begin(block)
        return found

    def came(self, digest: bytes, blocks: Iterable[int]) -> None:
        """Record that a content has arrived: blocks that have it and could not be kept are fetched again, behind."""
        self._on_way.discard(digest)
        self._waited_for.difference_update(blocks)
        self._again.extend(block for block in blocks if block not in self._presence)

    def lost(self, digests: set[bytes]) -> None:
        """Record that contents that were being fetched will not arrive: first comes again what a reader waits for."""
        if not digests:
            return
        for block, digest in self._block_map.digests.items():
            if digest in digests and block not in self._presence:
                (self._asked if block in self._waited_for else self._again).append(block)
        self._on_way -= digests

    def _take(self, queue: deque[int]) -> int | None:
        while queue:
            found = self._begin(queue.popleft())
            if found is not None:
                return found
        return None

    def _begin(self, block: int) -> int | None:
        """Begin to fetch a block, unless it is there or being fetched."""
        digest = self._block_map.digests[block]
        if block in self._presence or digest in self._on_way:
            return None
        self._on_way.add(digest)
        return block
