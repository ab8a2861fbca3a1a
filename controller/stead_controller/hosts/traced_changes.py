"""Which calls made which changes, with their request ids and traces, from the commit until hosts have been sent them.

It is in memory alone: a host that is away in that moment gets the changes without it.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stead_controller.db.wakes import Wakes
from stead_controller.desired import wire
from stead_proto import traces
from stead_proto.v1 import host_pb2 as pb

_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that changed something: its request id and trace, empty for none, and when it was committed."""

    request: str
    trace: str
    at: int  # Unix nanoseconds


class Traced:
    """The calls that made some revisions."""

    def __init__(self, revisions: dict[int, _Call]) -> None:
        """Take them by revision."""
        self._revisions = revisions

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._revisions)

    def told(self, host_id: str, revisions: Collection[int]) -> Iterator[bytes]:
        """Yield what a host is told of those among these revisions: it is now that they are sent to it."""
        for revision in sorted(self._revisions.keys() & revisions):
            call = self._revisions[revision]
            about: dict[str, traces.Value] = {"stead.host": host_id, "stead.revision": revision}
            sending = traces.begin("send to host", call.trace, "producer", about, call.at) if call.trace else None
            if sending is not None:
                sending.end()
            if sending is not None or call.request:
                yield wire.traced(revision, "" if sending is None else sending.traceparent, call.request)

    def requests(self, revisions: Collection[int]) -> Iterator[bytes]:
        """Yield what all hosts are told alike of those among these revisions: their request ids."""
        for revision in sorted(self._revisions.keys() & revisions):
            if request := self._revisions[revision].request:
                yield wire.traced(revision, "", request)


NO_CALLS: Final = Traced({})


class TracedChanges:
    """The calls whose changes were committed and are not sent; `note` may be called from any thread."""

    def __init__(self) -> None:
        """Begin without any."""
        self._revisions: dict[int, _Call] = {}

    def note(self, wakes: Wakes) -> None:
        """Note the call of a transaction that is about to be committed, or just was."""
        trace = wakes.trace if traces.is_on() else ""
        if (trace or wakes.request) and wakes.revision and len(self._revisions) < _MOST:
            self._revisions[wakes.revision] = _Call(wakes.request, trace, traces.now())

    def take(self, revision: int) -> Traced:
        """Take those of all revisions until this one."""
        taken = {each: found for each, found in list(self._revisions.items()) if each <= revision}
        for each in taken:
            self._revisions.pop(each, None)
        return Traced(taken)


def record_report(host_id: str, progress: pb.Progress, began: int) -> None:
    """Record that a report of what traced calls changed is stored, which came at this time in Unix nanoseconds."""
    for each, status in _with_status(progress):
        about: dict[str, traces.Value] = {
            "stead.host": host_id,
            "stead.id": each.id,
            "stead.revision": status.revision,
            "stead.condition": pb.Condition.Name(status.condition).removeprefix("CONDITION_").lower(),
        }
        traces.record("store report", each.traceparent, began, about)


def _with_status(progress: pb.Progress) -> Iterable[tuple[pb.TracedStatus, pb.ResourceStatus]]:
    statuses = {(each.kind, each.id): each for each in progress.statuses}
    return [(each, statuses[each.kind, each.id]) for each in progress.traces if (each.kind, each.id) in statuses]
