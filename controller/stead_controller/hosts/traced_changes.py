"""Which of the calls that are traced made which changes, from the commit until hosts have been sent them.

It is in memory alone: a host that is away in that moment gets the changes without the trace.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from stead_controller.db.wakes import Wakes
from stead_controller.desired import wire
from stead_proto import traces
from stead_proto.v1 import host_pb2 as pb

_MOST: Final = 4096


class Traced:
    """The traces of some revisions, with the time at which each was committed, in Unix nanoseconds."""

    def __init__(self, revisions: dict[int, tuple[str, int]]) -> None:
        """Take them by revision."""
        self._revisions = revisions

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._revisions)

    def told(self, host_id: str, revisions: Collection[int]) -> Iterator[bytes]:
        """Yield what a host is told of those among these revisions: it is now that they are sent to it."""
        for revision in sorted(self._revisions.keys() & revisions):
            parent, at = self._revisions[revision]
            about: dict[str, traces.Value] = {"stead.host": host_id, "stead.revision": revision}
            sending = traces.begin("send to host", parent, "producer", about, at)
            if sending is not None:
                sending.end()
                yield wire.traced(revision, sending.traceparent)


class TracedChanges:
    """The traces of what was committed and is not sent; `note` may be called from any thread."""

    def __init__(self) -> None:
        """Begin without any."""
        self._revisions: dict[int, tuple[str, int]] = {}

    def note(self, wakes: Wakes) -> None:
        """Note the trace of a transaction that is about to be committed, or just was."""
        if wakes.trace and wakes.revision and traces.is_on() and len(self._revisions) < _MOST:
            self._revisions.setdefault(wakes.revision, (wakes.trace, traces.now()))

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
