"""Which sums of traffic are told: those that the controller does not certainly know (pure)."""

from collections.abc import Iterator
from typing import Final

from stead_agent.traffic.interface import Sums, Way
from stead_proto.v1 import host_pb2 as pb

_WAYS: Final = {
    Way.TO_INTERNET: pb.WAY_TO_INTERNET,
    Way.FROM_INTERNET: pb.WAY_FROM_INTERNET,
    Way.TO_HOST: pb.WAY_TO_HOST,
    Way.TO_PEER_HOST: pb.WAY_TO_PEER_HOST,
}
_NOTHING: Final = Sums("", ())


class TrafficTelling:
    """Remembers what was told, and what of it is stored."""

    def __init__(self) -> None:
        """Know of nothing that it is stored: after a restart all is told again."""
        self._told = _NOTHING
        self._stored = _NOTHING

    def stored(self, *, all_is: bool) -> Sums:
        """Return what the controller knows; `all_is` tells whether it has stored everything that was sent so far."""
        if all_is:
            self._stored = self._told
        return self._stored

    def tell(self, sums: Sums) -> Iterator[pb.Passed]:
        """Yield what is to be sent of the sums now."""
        known = set(self._stored.sums) if self._stored.epoch == sums.epoch else set()
        self._told = sums
        for one in sums.sums:
            if one not in known:
                yield pb.Passed(id=one.id, way=_WAYS[one.way], host_address=one.host, bytes=one.total)
