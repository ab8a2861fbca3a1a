"""Measurements that the controller has not stored yet: kept for some minutes, the oldest are dropped first."""

import asyncio
from collections import OrderedDict
from typing import Final

from stead_proto.v1.host_pb2 import Measurements

KEPT: Final = 20
"""How many messages are kept: one is added a minute."""


class Outgoing:
    """A queue of messages, each sent again until it is stored; belongs to the event loop."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: OrderedDict[int, bytes] = OrderedDict()  # encoded: smaller than the message
        self._number = 0
        self.has_more = asyncio.Event()

    def __len__(self) -> int:
        """How many messages are kept."""
        return len(self._kept)

    def put(self, measurements: Measurements) -> None:
        """Add a message, which gets its number."""
        self._number += 1
        measurements.number = self._number
        self._kept[self._number] = measurements.SerializeToString()
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self.has_more.set()

    def first(self) -> Measurements | None:
        """Return the oldest message, which stays; None without any."""
        self.has_more.clear()
        return next(map(Measurements.FromString, self._kept.values()), None)

    def stored(self, number: int) -> None:
        """Drop what the controller has stored, and wake who waits to send the next."""
        for each in [each for each in self._kept if each <= number]:
            del self._kept[each]
        self.has_more.set()
