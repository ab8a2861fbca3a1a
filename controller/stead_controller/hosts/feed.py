"""Sends changes to all streams from one reader of the database: each round reads all new changes once for all hosts.

A commit wakes it; what is committed while it reads is read in the next round, so bursts are sent together. A host that
says Hello is brought up to date within a round, and from then on all are at the same revision, except for changes that
are being collected (`desired/coalescing.py`): a host to which anything else is sent gets those before or with it, so
no host misses a change older than its revision.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from stead_controller.db.session import Database
from stead_controller.desired import host_errors, wire
from stead_controller.desired.changes import Greeting, News, Reader, TopicNews, Update
from stead_controller.desired.coalescing import DelayedUpdates, joined
from stead_controller.desired.messages.keys import Addition, OpenKey, without_keys
from stead_controller.hosts.traced_changes import NO_CALLS, Traced, TracedChanges

_log = logging.getLogger(__name__)

# Commits of other controllers wake this loop as well, unless word of one was lost: then it is found by polling.
_LOOK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
# Hosts that say Hello at the same time are served in batches, so that connected hosts need not wait for all of them.
_HELLOS_AT_ONCE: Final = 256
# An agent with so many unread updates must say Hello again: then it gets them as one update.
_UNREAD: Final = 256


@dataclass(slots=True)
class Stream:
    """The updates sent to one connected agent, in order; `failing` are the kinds and ids of its stored errors.

    `session` is which of the host's sessions it is: what it brings is stored while there is no later one.
    """

    host_id: str
    revision: int
    epoch: str
    known: int = 0
    session: int | None = None
    unsettled: bool = False  # what runs on the host may have a certificate of before it enrolled again
    vpc_ids: set[str] = field(default_factory=set)
    failing: set[tuple[int, str]] = field(default_factory=set)
    sent: int = 0
    ended: bool = False
    _unread: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    def put(self, content: bytes) -> None:
        """Queue an encoded HostUpdate."""
        if self.ended:
            return
        if self._unread.qsize() >= _UNREAD:
            _log.warning("host_does_not_read", extra={"host": self.host_id})
            self.end()
            return
        self._unread.put_nowait(content)

    def end(self) -> None:
        """Send nothing after the updates queued so far."""
        self.ended = True
        self._unread.put_nowait(None)

    async def updates(self) -> AsyncIterator[bytes]:
        """Yield the queued updates until the end."""
        while (content := await self._unread.get()) is not None:
            yield content


class Feed:
    """The reader and the streams that it serves; all methods but `committed` run on the event loop."""

    def __init__(
        self,
        database: Database,
        open_key: OpenKey = without_keys,
        additions: Sequence[Addition] = (),
    ) -> None:
        """Store the dependencies; nothing is read before `run`."""
        self._database = database
        self._open_key = open_key
        self._additions = additions
        self._revision = 0
        self._epoch = ""
        self._delayed = DelayedUpdates()
        self._patient: set[int] = set()  # revisions whose changes all may be delayed and collected
        self.traced = TracedChanges()
        self._streams: dict[str, Stream] = {}
        self._joining: dict[str, Stream] = {}
        self._subscribers: dict[str, set[str]] = {}  # by VPC: the connected hosts that are subscribed to it
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def hosts(self) -> set[str]:
        """The ids of the hosts that have a stream to this controller."""
        return self._streams.keys() | self._joining.keys()

    def put_to_all(self, content: bytes) -> None:
        """Queue an encoded HostUpdate for all hosts."""
        for stream in [*self._joining.values(), *self._streams.values()]:
            stream.put(content)

    def end_all(self) -> None:
        """End all streams: their hosts go to another controller."""
        for stream in [*self._joining.values(), *self._streams.values()]:
            stream.end()

    def find(self, host_id: str) -> Stream | None:
        """Return a host's stream, if it has one to this controller."""
        return self._joining.get(host_id) or self._streams.get(host_id)

    def join(self, stream: Stream) -> None:
        """Serve a stream from now on, first with what its host missed; an earlier stream of the same host ends."""
        for before in (self._joining.get(stream.host_id), self._streams.get(stream.host_id)):
            if before is not None:
                self.leave(before)
                before.end()
        self._joining[stream.host_id] = stream
        self._woken.set()

    def leave(self, stream: Stream) -> None:
        """Stop serving a stream."""
        if self._joining.get(stream.host_id) is stream:
            del self._joining[stream.host_id]
        if self._streams.get(stream.host_id) is stream:
            del self._streams[stream.host_id]
            self._delayed.take(stream.host_id)
            self._follow(stream, set())

    def committed(self, revision: int, *, gathers: bool) -> None:
        """Wake the reader for the changes of a revision, which may wait with `gathers`; callable from any thread."""
        if gathers:
            self._patient.add(revision)
        if not self._woken.is_set():  # else the next round, which has not begun, reads it
            self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Send changes until cancelled."""
        looks_at = 0.0
        while True:
            waits = self._delayed.due_in()
            looks_in = looks_at - time.monotonic()
            with contextlib.suppress(TimeoutError):  # on a timeout it is time to poll, or to send what waits
                await asyncio.wait_for(self._woken.wait(), looks_in if waits is None else min(looks_in, waits))
            is_woken = self._woken.is_set()
            self._woken.clear()
            try:
                if is_woken or time.monotonic() >= looks_at:  # another controller may have committed something
                    await self._round()
                    looks_at = time.monotonic() + _LOOK_SECONDS
                if self._delayed.due_in() == 0:
                    self._send_delayed()
            except Exception:  # the feed must survive a database that is unavailable for a while
                _log.exception("feed_failed")
                await asyncio.sleep(_RETRY_SECONDS)
                self._woken.set()

    async def _round(self) -> None:
        """Read the new changes, and what hosts that just joined have missed; send both."""
        joining = list(self._joining.values())[:_HELLOS_AT_ONCE]
        if len(joining) < len(self._joining):
            self._woken.set()
        since, host_ids = self._revision, frozenset(self._streams)
        news, firsts = await self._database.run(
            lambda tx: _read(Reader(tx, self._open_key, self._additions, self._epoch), since, host_ids, joining),
            writes=False,
        )
        self._revision, self._epoch = news.revision, news.epoch
        self._hand_out(news, since)
        for stream, (first, failing) in zip(joining, firsts, strict=True):
            if self._joining.get(stream.host_id) is not stream:
                continue  # it left, or its host connected again, while we read
            del self._joining[stream.host_id]
            self._follow(stream, set(first.vpc_ids))
            stream.failing = failing
            stream.sent = first.revision
            stream.put(first.content)
            self._streams[stream.host_id] = stream

    def _hand_out(self, news: News, since: int) -> None:
        """Send changes to the hosts that they concern, without visiting others; collect those that may be delayed."""
        known = {revision for revision in self._patient if revision <= news.revision}
        self._patient -= known
        urgent = {vpc_id for vpc_id, topic in news.topics.items() if not topic.revisions <= known}
        concerned = {host_id for vpc_id in urgent for host_id in self._subscribers.get(vpc_id, ())}
        concerned.update(news.own, news.begun, news.ended)
        for vpc_id in news.topics.keys() - urgent:
            self._delayed.add(self._subscribers.get(vpc_id, set()) - concerned, news.topics[vpc_id])
        contents: dict[tuple[int, ...], bytes] = {}
        traced = self.traced.take(news.revision)
        for host_id in concerned:
            stream = self._streams.get(host_id)
            if stream is not None:  # else it left while we read
                self._send(stream, news, since, contents, traced)

    def _send(
        self, stream: Stream, news: News, since: int, contents: dict[tuple[int, ...], bytes], traced: Traced
    ) -> None:
        """Send a host its changes, and those collected for it until `since`; what many hosts get is encoded once."""
        host_id = stream.host_id
        own = news.own.get(host_id)
        begun, ended = news.begun.get(host_id, {}), news.ended.get(host_id, {})
        vpc_ids = sorted(stream.vpc_ids & news.topics.keys() - begun.keys() - ended.keys())
        delayed = self._delayed.take(host_id)
        if any(each.vpc_id in begun or each.vpc_id in ended for each in delayed):
            # Updates for a VPC whose subscription begins or ends assume a host that knows all of it until `since`.
            self._put(stream, since, joined(delayed))
            delayed = ()
        topics = [*delayed, *(news.topics[vpc_id] for vpc_id in vpc_ids)]
        if own or begun or ended:
            told = traced.told(host_id, news.revisions[host_id]) if traced else ()
            self._put(stream, news.revision, [*(own or ()), *joined(topics), *begun.values(), *ended.values(), *told])
            self._follow(stream, stream.vpc_ids - ended.keys() | begun.keys())
        else:
            self._put_alike(stream, news.revision, topics, contents, traced)

    def _send_delayed(self) -> None:
        """Send the collected changes."""
        contents: dict[tuple[int, ...], bytes] = {}
        for host_id, topics in self._delayed.take_all().items():
            self._put_alike(self._streams[host_id], self._revision, topics, contents, NO_CALLS, patient=True)

    def _put_alike(
        self,
        stream: Stream,
        revision: int,
        topics: Sequence[TopicNews],
        contents: dict[tuple[int, ...], bytes],
        traced: Traced,
        *,
        patient: bool = False,
    ) -> None:
        """Send changes of VPCs, which are encoded once for all hosts that get the same ones."""
        key = tuple(map(id, topics))
        if key not in contents:
            told = traced.requests(set[int]().union(*(each.revisions for each in topics))) if traced else ()
            contents[key] = wire.update(revision, self._epoch, [*joined(topics), *told], patient=patient)
        stream.sent = revision
        stream.put(contents[key])

    def _put(self, stream: Stream, revision: int, pieces: Sequence[bytes]) -> None:
        stream.sent = revision
        stream.put(wire.update(revision, self._epoch, pieces))

    def _follow(self, stream: Stream, vpc_ids: set[str]) -> None:
        """Store to which VPCs a stream's host is subscribed from now on."""
        for vpc_id in stream.vpc_ids - vpc_ids:
            hosts = self._subscribers[vpc_id]
            hosts.discard(stream.host_id)
            if not hosts:
                del self._subscribers[vpc_id]
        for vpc_id in vpc_ids - stream.vpc_ids:
            self._subscribers.setdefault(vpc_id, set()).add(stream.host_id)
        stream.vpc_ids = vpc_ids


def _read(
    reader: Reader, since: int, host_ids: frozenset[str], joining: Sequence[Stream]
) -> tuple[News, list[tuple[Update, set[tuple[int, str]]]]]:
    # Without streams no earlier changes are needed.
    news = reader.news(since, host_ids) if host_ids else News(reader.revision, reader.epoch)
    failing = host_errors.of_hosts(reader.tx, [stream.host_id for stream in joining])
    firsts = reader.firsts([Greeting(each.host_id, each.revision, each.epoch, each.known) for each in joining])
    return news, [(first, failing.get(each.host_id, set())) for first, each in zip(firsts, joining, strict=True)]
