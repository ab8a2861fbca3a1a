"""What is reported to the controller: each resource's latest status, which are unsent, and the revision reached."""

from collections.abc import Callable, Collection
from itertools import islice

from stead_agent.wanted import SHARED_KINDS, Key
from stead_proto import limits
from stead_proto.v1 import host_pb2
from stead_proto.v1.desired_pb2 import KIND_MAPPING
from stead_proto.v1.host_pb2 import ResourceStatus

_FINAL = {host_pb2.CONDITION_READY, host_pb2.CONDITION_FAILED, host_pb2.CONDITION_ABSENT}


def status(
    key: Key,
    revision: int,
    condition: "host_pb2.Condition.ValueType",
    error: str = "",
    *,
    machine: host_pb2.MachineStatus | None = None,
    volume: host_pb2.VolumeStatus | None = None,
    snapshot: host_pb2.SnapshotStatus | None = None,
    unclaimed: host_pb2.Unclaimed | None = None,
) -> ResourceStatus:
    """Create a status; a long error is cut, and invalid characters (such as bytes of a file's name) are escaped."""
    return ResourceStatus(
        kind=key.kind,
        id=key.id,
        revision=revision,
        condition=condition,
        error=error.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[: limits.ERROR_CHARACTERS],
        machine=machine,
        volume=volume,
        snapshot=snapshot,
        unclaimed=unclaimed,
    )


class Reports:
    """The latest statuses; used on the event loop only."""

    def __init__(
        self,
        news: Callable[[], None],
        unclaimed: Callable[[Key], host_pb2.Unclaimed | None] = lambda _key: None,
    ) -> None:
        """Call `news` whenever there is something to send.

        Of an unclaimed resource only that and what it has are reported: `unclaimed` returns it, None for all others.
        """
        self._news = news
        self._unclaimed = unclaimed
        self._shared_unclaimed: set[Key] = set()  # said to be so: it must be said that they are not any more
        self._latest: dict[Key, ResourceStatus] = {}
        self._unsent: dict[Key, None] = {}
        self._open: dict[Key, int] = {}  # revisions without a final status
        self._patient: set[Key] = set()  # those of them whose end nobody waits for
        self._reached_changed = False

    @property
    def pending(self) -> int:
        """How many resources have no final status of their last revision."""
        return len(self._open)

    def latest(self, key: Key) -> ResourceStatus | None:
        """Return the last status of a resource."""
        return self._latest.get(key)

    def is_ready(self, key: Key, revision: int) -> bool:
        """Tell whether a resource is ready at this revision."""
        last = self._latest.get(key)
        return last is not None and last.revision == revision and last.condition == host_pb2.CONDITION_READY

    def is_failed(self, key: Key) -> bool:
        """Tell whether the last status of a resource is that it failed."""
        last = self._latest.get(key)
        return last is not None and last.condition == host_pb2.CONDITION_FAILED

    def is_told_of(self, key: Key) -> bool:
        """Tell whether the controller knows that a shared resource failed or is unclaimed: it must learn of its end."""
        return self.is_failed(key) or key in self._shared_unclaimed

    def expect(self, key: Key, revision: int, *, patient: bool = False) -> None:
        """Record that a resource has a new revision, which is to be reconciled.

        With `patient`, a good end of it is no news by itself: the revision reached is said with the next report.
        """
        if not patient:
            self._patient.discard(key)
        elif key not in self._open:
            self._patient.add(key)
        self._open[key] = revision

    def put(self, new: ResourceStatus) -> None:
        """Record a resource's status; it is sent unless it equals the last one.

        For resources that are the same on all hosts of a VPC, only failures, that they are unclaimed, and the
        end of that are sent.
        """
        key = Key(new.kind, new.id)
        if new.condition in _FINAL and self._open.get(key, new.revision + 1) <= new.revision:
            self._close(key)
        last = self._latest.get(key)
        is_well = new.condition == host_pb2.CONDITION_READY
        if key.kind in SHARED_KINDS and is_well and not self.is_failed(key) and not self._is_unclaimed(key):
            self._latest.pop(key, None)
            self._unsent.pop(key, None)
        elif last != new:
            self._latest[key] = new
            self._unsent[key] = None
        if self._unsent or self._reached_changed:
            self._news()

    def put_ready(self, key: Key, revision: int) -> None:
        """Record that a place is ready: of most nothing is said, so that no status of it is made."""
        if self.is_failed(key):
            self.put(status(key, revision, host_pb2.CONDITION_READY))
            return
        if self._open.get(key, revision + 1) <= revision:
            self._close(key)
        self._latest.pop(key, None)
        self._unsent.pop(key, None)
        if self._unsent or self._reached_changed:
            self._news()

    def _is_unclaimed(self, key: Key) -> bool:
        """Tell whether a shared resource that is well must be reported: it is unclaimed, or was and is not any more."""
        if key.kind == KIND_MAPPING:  # there may be thousands, and nobody adopts them by themselves
            return False
        if self._unclaimed(key) is not None:
            self._shared_unclaimed.add(key)
            return True
        was = key in self._shared_unclaimed
        self._shared_unclaimed.discard(key)
        return was

    def forget(self, key: Key) -> None:
        """Forget a resource that needs no more reports."""
        self._latest.pop(key, None)
        self._unsent.pop(key, None)
        self._shared_unclaimed.discard(key)
        if key in self._open:
            self._close(key)
            if self.has_news():
                self._news()

    def _close(self, key: Key) -> None:
        """Record that nothing of a resource is open any more."""
        del self._open[key]
        if key in self._patient:
            self._patient.discard(key)
        else:
            self._reached_changed = True

    def open_keys(self) -> Collection[Key]:
        """List the resources whose revision has no final status."""
        return self._open

    def reached(self, revision: int) -> int:
        """Return the revision up to which everything is done or failed, and was reported; `revision` is the desired.

        Call it after `take`: what that left counts as not reported.
        """
        untold = (self._latest[key].revision for key in self._unsent)
        return min(min(self._open.values(), default=revision + 1), min(untold, default=revision + 1)) - 1

    def has_news(self) -> bool:
        """Tell whether there is anything unsent."""
        return bool(self._unsent) or self._reached_changed

    def take(
        self, most: int = limits.STATUSES_PER_PROGRESS, most_bytes: int = limits.PROGRESS_BYTES
    ) -> list[ResourceStatus]:
        """Take the statuses to be sent next, oldest first: so many, or until unclaimed ones have so many bytes."""
        taken = []
        for key in islice(list(self._unsent), most):
            said = self._said(key)
            del self._unsent[key]
            taken.append(said)
            if said.HasField("unclaimed"):
                most_bytes -= said.ByteSize()
            if most_bytes <= 0:
                break
        self._reached_changed = False
        return taken

    def _said(self, key: Key) -> ResourceStatus:
        """Return what is reported of a resource."""
        last = self._latest[key]
        if last.condition != host_pb2.CONDITION_ABSENT and (unclaimed := self._unclaimed(key)) is not None:
            return status(key, last.revision, host_pb2.CONDITION_UNCLAIMED, unclaimed=unclaimed)
        return last

    def clear(self) -> None:
        """Forget everything: revisions are counted in another database now."""
        self._latest.clear()
        self._shared_unclaimed.clear()
        self._unsent.clear()
        self._open.clear()
        self._patient.clear()

    def resend_all(self) -> None:
        """Mark all statuses as unsent: what an ended session sent may not have been stored."""
        self._unsent = dict.fromkeys(self._latest)
        self._reached_changed = True
        self._news()
