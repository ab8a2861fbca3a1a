"""Which calls of the API the work on a unit is for, by their request ids: for the log alone, and in memory alone."""

from collections.abc import Callable
from typing import Final

from stead_agent.wanted import Key, key_of
from stead_proto.v1.host_pb2 import DesiredState

_MOST: Final = 1024  # units
_MOST_OF_UNIT: Final = 8


class Requests:
    """The request ids of changes that are under way; used on the event loop only."""

    def __init__(self) -> None:
        """Begin without any."""
        self._by_unit: dict[Key, tuple[str, ...]] = {}  # who was changed last comes last

    def take(self, state: DesiredState, unit_of: Callable[[Key], Key | None]) -> None:
        """Note what calls a state's changes are due to; `unit_of` says what work makes each of these true."""
        told = {each.revision: each.request_id for each in state.traces if each.request_id}
        if not told:
            return
        put = [(key_of(each), each.revision) for each in state.resources]
        for key, revision in [*put, *((Key(each.kind, each.id), each.revision) for each in state.removals)]:
            if revision in told and key is not None and (unit := unit_of(key)) is not None:
                known = self._by_unit.pop(unit, ())
                new = () if told[revision] in known else (told[revision],)
                self._by_unit[unit] = (*known, *new)[-_MOST_OF_UNIT:]
        while len(self._by_unit) > _MOST:
            del self._by_unit[next(iter(self._by_unit))]

    def of(self, unit: Key) -> str:
        """Return the request ids of what is under way, separated by commas; empty: none is known."""
        return ",".join(self._by_unit.get(unit, ()))

    def settle(self, unit: Key) -> str:
        """Return the same, and forget it: nothing is left to do."""
        return ",".join(self._by_unit.pop(unit, ()))
