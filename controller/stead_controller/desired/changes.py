"""Reads what a host has missed since a revision, or its whole desired state, as the update that it is sent.

A part of a VPC is sent at the revision of its last change or, where that is older, at that of the host's subscription:
so a part whose removal the host was sent, when it was not subscribed to the VPC, counts as new again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import bindparam, or_, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact, Host, HostResource, VpcHost, VpcResource
from stead_controller.desired import revisions, wire
from stead_controller.desired.messages.keys import Addition, OpenKey, opened, without_keys
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_OWN: Final = select(
    HostResource.host_id,
    HostResource.kind,
    HostResource.resource_id,
    HostResource.revision,
    HostResource.body,
    HostResource.force,
).where(HostResource.revision > bindparam("since"))
_OWN_SINCE: Final = Prepared(_OWN)
_OWN_OF_HOSTS: Final = _OWN.where(HostResource.host_id.in_(bindparam("host_ids", expanding=True)))
_TOPICS: Final = select(VpcHost.host_id, VpcHost.vpc_id, VpcHost.since_revision, VpcHost.gone_revision)
_TOPICS_OF_HOSTS: Final = _TOPICS.where(VpcHost.host_id.in_(bindparam("host_ids", expanding=True)))
_TOPICS_SINCE: Final = Prepared(
    _TOPICS.where(or_(VpcHost.since_revision > bindparam("since"), VpcHost.gone_revision > bindparam("since")))
)
_PARTS: Final = Prepared(
    select(VpcResource.kind, VpcResource.resource_id, VpcResource.revision, VpcResource.body).where(
        VpcResource.vpc_id == bindparam("vpc_id"), VpcResource.revision > bindparam("since")
    )
)
_PARTS_OF_ALL: Final = Prepared(
    select(VpcResource.vpc_id, VpcResource.kind, VpcResource.resource_id, VpcResource.revision, VpcResource.body).where(
        VpcResource.revision > bindparam("since")
    )
)
_KNOWN: Final = select(Host.id, Host.revision_reached, Host.revision_forgotten).where(
    Host.id.in_(bindparam("host_ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Update:
    """An encoded state to send; after it the host is at `revision` and subscribed to the VPCs in `vpc_ids`."""

    content: bytes
    revision: int
    vpc_ids: frozenset[str] = frozenset()

    @property
    def message(self) -> pb.HostUpdate:
        """The same update, decoded."""
        return pb.HostUpdate.FromString(self.content)


class _Topic(NamedTuple):
    """A host's subscription to a VPC: since when, and when it ended."""

    host_id: str
    vpc_id: str
    since_revision: int
    gone_revision: int | None


@dataclass(slots=True)
class TopicNews:
    """Changes of a VPC: encoded pieces by kind and id, and the revisions of these changes."""

    vpc_id: str
    pieces: dict[tuple[int, str], bytes] = field(default_factory=dict)
    revisions: set[int] = field(default_factory=set)


@dataclass(slots=True)
class News:
    """Changes since a revision, as encoded pieces of states.

    `own` is by host, as are its `revisions`; `topics` by VPC, for hosts that were subscribed before; `begun` and
    `ended` by host and VPC.
    """

    revision: int
    epoch: str
    own: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    revisions: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    topics: dict[str, TopicNews] = field(default_factory=dict)
    begun: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    ended: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))


class Greeting(NamedTuple):
    """What a host says of its desired state when it connects."""

    host_id: str
    revision: int  # what it missed since this one is to be sent; 0: all
    epoch: str
    known: int  # the last revision that it has stored


@dataclass(slots=True)
class Reader:
    """Reads what hosts have missed, all in one transaction; what many hosts have missed is read and encoded once."""

    tx: Transaction
    _open_key: OpenKey = without_keys
    _additions: Sequence[Addition] = ()  # to machines; without any, machines are sent as they are stored
    epoch: str = ""  # of the database, read where it is not given: it does not change
    revision: int = field(init=False)
    _missed: dict[tuple[str, int], bytes] = field(init=False, default_factory=dict)
    _whole: dict[tuple[str, int, int], bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Start to read the database as it is now."""
        self.revision = revisions.current(self.tx)
        self.epoch = self.epoch or epoch_of(self.tx)

    def firsts(self, hellos: Sequence[Greeting]) -> list[Update]:
        """Return the updates for hosts that say Hello: what they missed, or all if unknown.

        A host knows at least the revision it once reached, unless it lost its state: older removals may be forgotten.
        Resources are not to be removed just because an older copy of the database does not contain them.
        """
        if not hellos:
            return []
        host_ids = [each.host_id for each in hellos]
        least = {
            row.id: max(row.revision_reached, row.revision_forgotten)
            for row in self.tx.session.execute(_KNOWN, {"host_ids": host_ids})
        }
        ahead = {each.host_id for each in hellos if is_ahead(self.tx, each.known, each.epoch, here=self.epoch)}
        since = {
            host_id: revision
            for host_id, revision, epoch, _known in hellos
            if revision and epoch == self.epoch and least.get(host_id, 0) <= revision and host_id not in ahead
        }
        own = self._own({host_id: since.get(host_id, 0) for host_id in host_ids})
        topics = self._topics(host_ids)
        return [
            self._since(since[host_id], own[host_id], topics[host_id])
            if host_id in since
            else self._everything(own[host_id], topics[host_id], older=host_id in ahead)
            for host_id in host_ids
        ]

    def everything(self, host_id: str) -> Update:
        """Return the whole desired state of a host: resources that are not in it must be removed."""
        return self._everything(self._own({host_id: 0})[host_id], self._topics([host_id])[host_id])

    def since(self, host_id: str, revision: int) -> Update:
        """Return what a host has missed since a revision, possibly nothing."""
        return self._since(revision, self._own({host_id: revision})[host_id], self._topics([host_id])[host_id])

    def _everything(self, own: list[bytes], subscriptions: Sequence[_Topic], *, older: bool = False) -> Update:
        topics = {each.vpc_id: each.since_revision for each in subscriptions if each.gone_revision is None}
        pieces = [*own, *(self._live_parts(vpc_id, since, self.revision) for vpc_id, since in topics.items())]
        content = wire.update(self.revision, self.epoch, pieces, full=True, older=older)
        return Update(content, self.revision, frozenset(topics))

    def _since(self, revision: int, own: list[bytes], subscriptions: Sequence[_Topic]) -> Update:
        pieces = [*own]
        vpc_ids = set()
        for _, vpc_id, since, gone in subscriptions:
            if gone is None:
                vpc_ids.add(vpc_id)
                known = since <= revision
                pieces.append(
                    self._missed_parts(vpc_id, revision) if known else self._live_parts(vpc_id, since, revision)
                )
            elif gone > revision:
                pieces.append(self._gone_parts(vpc_id, gone))
        return Update(wire.update(self.revision, self.epoch, pieces), self.revision, frozenset(vpc_ids))

    def news(self, since: int, host_ids: AbstractSet[str]) -> News:
        """Return the changes since a revision; of those that concern single hosts, only the changes of these hosts."""
        news = News(self.revision, self.epoch)
        if since == self.revision:
            return news
        for host_id, kind, resource_id, revision, body, force in _OWN_SINCE.all(self.tx.connection, {"since": since}):
            if host_id in host_ids:
                news.own[host_id].append(self._own_piece(kind, resource_id, revision, body, force=force))
                news.revisions[host_id].add(revision)
        for vpc_id, kind, name, revision, body in _PARTS_OF_ALL.all(self.tx.connection, {"since": since}):
            topic = news.topics.get(vpc_id)
            if topic is None:
                topic = news.topics[vpc_id] = TopicNews(vpc_id)
            topic.pieces[kind, name] = _piece(kind, name, revision, body)
            topic.revisions.add(revision)
        for host_id, vpc_id, begun, gone in _TOPICS_SINCE.all(self.tx.connection, {"since": since}):
            if host_id not in host_ids:
                continue
            if gone is None:
                news.begun[host_id][vpc_id] = self._live_parts(vpc_id, begun, since)
            else:
                news.ended[host_id][vpc_id] = self._gone_parts(vpc_id, gone)
        return news

    def _own(self, since: Mapping[str, int]) -> dict[str, list[bytes]]:
        """Return the changes of hosts' own resources since a revision, which may differ from host to host."""
        found: dict[str, list[bytes]] = {host_id: [] for host_id in since}
        for revision, host_ids in _by_value(since).items():
            rows = self.tx.session.execute(_OWN_OF_HOSTS, {"host_ids": host_ids, "since": revision})
            for host_id, kind, name, number, body, force in rows:
                found[host_id].append(self._own_piece(kind, name, number, body, force=force))
        return found

    def _own_piece(self, kind: int, resource_id: str, revision: int, body: bytes | None, *, force: bool) -> bytes:
        if body is not None:
            body = opened(kind, body, self._open_key, gives_back=True)
            for add in self._additions if kind == desired.KIND_MACHINE else ():
                body = add(body)
        return _piece(kind, resource_id, revision, body, force=force)

    def _topics(self, host_ids: Sequence[str]) -> dict[str, list[_Topic]]:
        """Return the VPCs to which hosts are or were subscribed."""
        found: dict[str, list[_Topic]] = {host_id: [] for host_id in host_ids}
        for row in self.tx.session.execute(_TOPICS_OF_HOSTS, {"host_ids": host_ids}):
            found[row.host_id].append(_Topic(*row))
        return found

    def _missed_parts(self, vpc_id: str, since: int) -> bytes:
        """Return what changed in a VPC since a revision, for hosts that were subscribed to it then."""
        pieces = self._missed.get((vpc_id, since))
        if pieces is None:
            rows = _PARTS.all(self.tx.connection, {"vpc_id": vpc_id, "since": since})
            pieces = b"".join(_piece(kind, name, revision, body) for kind, name, revision, body in rows)
            self._missed[vpc_id, since] = pieces
        return pieces

    def _live_parts(self, vpc_id: str, begun: int, since: int) -> bytes:
        """Return all parts of a VPC, for hosts subscribed to it since `begun`.

        They may have been subscribed at an earlier time, so parts removed after `since`, which they know, are included.
        """
        pieces = self._whole.get((vpc_id, begun, since))
        if pieces is None:
            rows = _PARTS.all(self.tx.connection, {"vpc_id": vpc_id, "since": -1})
            pieces = b"".join(
                _piece(kind, name, max(revision, begun), body)
                for kind, name, revision, body in rows
                if body is not None or revision > since
            )
            self._whole[vpc_id, begun, since] = pieces
        return pieces

    def _gone_parts(self, vpc_id: str, gone: int) -> bytes:
        """Return the removals of all that a host may have of a VPC whose subscription ended at a revision."""
        rows = _PARTS.all(self.tx.connection, {"vpc_id": vpc_id, "since": -1})
        return b"".join(wire.removal(kind, name, gone) for kind, name, _, _ in rows)


def _by_value(since: Mapping[str, int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for host_id, revision in since.items():
        found[revision].append(host_id)
    return found


def _piece(kind: int, resource_id: str, revision: int, body: bytes | None, *, force: bool = False) -> bytes:
    if body is None:
        return wire.removal(kind, resource_id, revision, force=force)
    return wire.resource(body, revision)


def is_ahead(tx: Transaction, revision: int, epoch: str, *, here: str) -> bool:
    """Tell whether a host knows a revision that this database, of the epoch `here`, does not.

    Then the database is older than the host, or another one; a host that knows nothing says 0.
    """
    return bool(revision) and (epoch != here or revisions.is_unknown(tx, revision))


def epoch_of(tx: Transaction) -> str:
    """Return the name of this database's epoch: revisions of another epoch mean nothing here."""
    return tx.session.get_one(CloudFact, "epoch").value


def everything(tx: Transaction, host_id: str) -> Update:
    """Read the whole desired state of a host."""
    return Reader(tx).everything(host_id)


def changes_since(tx: Transaction, host_id: str, revision: int) -> Update:
    """Read what a host has missed since a revision."""
    return Reader(tx).since(host_id, revision)
