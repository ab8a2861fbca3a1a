"""What a host does for calls that are traced: a span from each change's arrival until it is reported, and its parts.

Several calls may have changed what one unit of work makes true: the time that it takes is a part of each trace.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from stead_agent.wanted import SHARED_KINDS, Key, key_of
from stead_proto import traces
from stead_proto.traces import Span
from stead_proto.v1 import desired_pb2, host_pb2

_MOST: Final = 1024  # changes that are under way
_ENDS: Final = {host_pb2.CONDITION_READY, host_pb2.CONDITION_FAILED, host_pb2.CONDITION_ABSENT}
_WORK: Final = {
    desired_pb2.KIND_MACHINE: "start or stop guest",
    desired_pb2.KIND_VOLUME: "make disk",
    desired_pb2.KIND_BASE: "fetch image",
    desired_pb2.KIND_VPC: "make network",
    desired_pb2.KIND_HOST_NETWORK: "make host's network",
}


@dataclass(frozen=True, slots=True)
class _Change:
    """A resource that is to reach a revision."""

    revision: int
    span: Span


class TracedChanges:
    """The traced changes that are under way; used on the event loop only."""

    def __init__(self, unit_of: Callable[[Key], Key | None]) -> None:
        """Begin without any; `unit_of` says what work makes a resource true, once it is known."""
        self._unit_of = unit_of
        self._open: dict[Key, _Change] = {}

    @contextlib.contextmanager
    def taking(self, state: host_pb2.DesiredState) -> Iterator[None]:
        """Begin the changes of a state, which the block stores."""
        told = {each.revision: each.traceparent for each in state.traces}
        parents = {revision: parent for revision, parent in told.items() if traces.is_traceparent(parent)}
        if not parents:
            yield
            return
        began = traces.now()
        put = [(key_of(each), each.revision) for each in state.resources]
        removed = [(Key(each.kind, each.id), each.revision) for each in state.removals]
        for key, revision in [*put, *removed]:
            parent = parents.get(revision)
            if key is not None and parent is not None and key.kind not in SHARED_KINDS:
                self._begin(key, revision, parent)
        yield
        for parent in parents.values():
            traces.record("store desired state", parent, began, {"stead.revision": state.revision})

    def _begin(self, key: Key, revision: int, parent: str) -> None:
        before = self._open.pop(key, None)
        if before is not None:
            before.span.note({"stead.superseded": True})
            before.span.end()
        if len(self._open) >= _MOST:
            return
        kind = _word(key)
        about: dict[str, traces.Value] = {"stead.id": key.id, "stead.kind": kind, "stead.revision": revision}
        span = traces.begin(f"change {kind}", parent, "consumer", about)
        if span is not None:
            self._open[key] = _Change(revision, span)

    def worked(self, unit: Key, seconds: float, *, failed: bool) -> None:
        """Record the work of a unit, which has just ended, as a part of what it was for; a `reconcile.loop.Watcher`."""
        began = traces.now() - round(seconds * 1e9)
        name = _WORK.get(unit.kind, f"make {_word(unit)}")
        for key, change in self._open.items():
            if self._unit_of(key) == unit:
                error = "unit_failed" if failed else ""
                traces.record(name, change.span.traceparent, began, {"stead.id": unit.id}, failed=error)

    def reported(self, statuses: Collection[host_pb2.ResourceStatus]) -> list[host_pb2.TracedStatus]:
        """End the changes that these statuses end, and return the traces to send with them."""
        ended = []
        for status in statuses:
            key = Key(status.kind, status.id)
            change = self._open.get(key)
            if change is None or status.condition not in _ENDS or status.revision < change.revision:
                continue
            del self._open[key]
            if status.condition == host_pb2.CONDITION_FAILED:
                change.span.fail("failed")
            change.span.end()
            ended.append(host_pb2.TracedStatus(kind=status.kind, id=status.id, traceparent=change.span.traceparent))
        return ended


def _word(key: Key) -> str:
    return desired_pb2.Kind.Name(key.kind).removeprefix("KIND_").lower()
