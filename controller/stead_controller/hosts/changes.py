"""What a host has missed since a revision, or all that it must make true, becomes the state that it is sent.

A part of a VPC is told at the revision of its last change or, where that is older, at that of the host's subscription:
so what a host was told to remove, when it had nothing to do with the VPC, comes back as news.
"""

from collections import defaultdict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam, or_, select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact, Host, HostResource, VpcHost, VpcResource
from stead_controller.hosts import revisions, wire
from stead_proto.v1 import host_pb2 as pb

_OWN: Final = select(
    HostResource.host_id,
    HostResource.kind,
    HostResource.resource_id,
    HostResource.revision,
    HostResource.body,
    HostResource.force,
).where(HostResource.revision > bindparam("since"))
_OWN_OF_HOST: Final = _OWN.where(HostResource.host_id == bindparam("host_id"))
_TOPICS: Final = select(VpcHost.host_id, VpcHost.vpc_id, VpcHost.since_revision, VpcHost.gone_revision)
_TOPICS_OF_HOST: Final = _TOPICS.where(VpcHost.host_id == bindparam("host_id"))
_TOPICS_SINCE: Final = _TOPICS.where(
    or_(VpcHost.since_revision > bindparam("since"), VpcHost.gone_revision > bindparam("since"))
)
_PARTS: Final = select(VpcResource.kind, VpcResource.resource_id, VpcResource.revision, VpcResource.body).where(
    VpcResource.vpc_id == bindparam("vpc_id"), VpcResource.revision > bindparam("since")
)
_VPCS_SINCE: Final = select(VpcResource.vpc_id).where(VpcResource.revision > bindparam("since")).distinct()
_KNOWN: Final = select(Host.revision_reached, Host.revision_forgotten).where(Host.id == bindparam("host_id"))


@dataclass(frozen=True, slots=True)
class Update:
    """A state to send, encoded; `revision` is what the host knows by it, `vpc_ids` the VPCs that it is told of then."""

    content: bytes
    revision: int
    vpc_ids: frozenset[str] = frozenset()

    @property
    def message(self) -> pb.HostUpdate:
        """The same, decoded."""
        return pb.HostUpdate.FromString(self.content)


@dataclass(slots=True)
class News:
    """What was told since a revision, as encoded pieces of states.

    `own` is by host; `topics` by VPC, for hosts that were told of it before; `begun` and `ended` by host and VPC.
    """

    revision: int
    epoch: str
    own: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    topics: dict[str, bytes] = field(default_factory=dict)
    begun: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    ended: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))


@dataclass(slots=True)
class Reader:
    """Reads what hosts have missed, all in one transaction; what many have missed alike is read and encoded once."""

    tx: Transaction
    revision: int = field(init=False)
    epoch: str = field(init=False)
    _missed: dict[tuple[str, int], bytes] = field(init=False, default_factory=dict)
    _whole: dict[tuple[str, int, int], bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """See the database as it is now."""
        self.revision = revisions.current(self.tx)
        self.epoch = epoch_of(self.tx)

    def first(self, host_id: str, revision: int, epoch: str) -> Update:
        """What a host is sent that says Hello: what it missed, or all when its revision means nothing here."""
        if not revision or epoch != self.epoch or not self._least_known(host_id) <= revision <= self.revision:
            return self.everything(host_id)
        return self.since(host_id, revision)

    def everything(self, host_id: str) -> Update:
        """The whole desired state of a host: whatever is not in it must go."""
        pieces = self._own(host_id, 0)
        told = self.tx.session.execute(_TOPICS_OF_HOST, {"host_id": host_id}).all()
        topics = {vpc_id: since for _, vpc_id, since, gone in told if gone is None}
        pieces += [self._live_parts(vpc_id, since, self.revision) for vpc_id, since in topics.items()]
        content = wire.update(self.revision, self.epoch, pieces, full=True)
        return Update(content, self.revision, frozenset(topics))

    def since(self, host_id: str, revision: int) -> Update:
        """What a host has missed since a revision, possibly nothing."""
        pieces = self._own(host_id, revision)
        vpc_ids = set()
        for _, vpc_id, since, gone in self.tx.session.execute(_TOPICS_OF_HOST, {"host_id": host_id}).all():
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
        """What was told since a revision; of what concerns single hosts, only that of these hosts."""
        news = News(self.revision, self.epoch)
        if since == self.revision:
            return news
        for host_id, kind, resource_id, revision, body, force in self.tx.session.execute(_OWN, {"since": since}):
            if host_id in host_ids:
                news.own[host_id].append(_piece(kind, resource_id, revision, body, force=force))
        for vpc_id in self.tx.session.scalars(_VPCS_SINCE, {"since": since}).all():
            news.topics[vpc_id] = self._missed_parts(vpc_id, since)
        for host_id, vpc_id, begun, gone in self.tx.session.execute(_TOPICS_SINCE, {"since": since}).all():
            if host_id not in host_ids:
                continue
            if gone is None:
                news.begun[host_id][vpc_id] = self._live_parts(vpc_id, begun, since)
            else:
                news.ended[host_id][vpc_id] = self._gone_parts(vpc_id, gone)
        return news

    def _least_known(self, host_id: str) -> int:
        """The revision that a host knows at least unless it lost its memory: removals up to it are forgotten."""
        row = self.tx.session.execute(_KNOWN, {"host_id": host_id}).first()
        return 0 if row is None else max(row.revision_reached, row.revision_forgotten)

    def _own(self, host_id: str, since: int) -> list[bytes]:
        rows = self.tx.session.execute(_OWN_OF_HOST, {"host_id": host_id, "since": since})
        return [_piece(kind, name, revision, body, force=force) for _, kind, name, revision, body, force in rows]

    def _missed_parts(self, vpc_id: str, since: int) -> bytes:
        """What changed in a VPC since a revision, for hosts that were told of it then."""
        pieces = self._missed.get((vpc_id, since))
        if pieces is None:
            rows = self.tx.session.execute(_PARTS, {"vpc_id": vpc_id, "since": since})
            pieces = b"".join(_piece(kind, name, revision, body) for kind, name, revision, body in rows)
            self._missed[vpc_id, since] = pieces
        return pieces

    def _live_parts(self, vpc_id: str, begun: int, since: int) -> bytes:
        """All of a VPC, for hosts that are told of it since `begun`.

        They may have been told of it at an earlier time, so what went after `since`, which they know, is told, too.
        """
        pieces = self._whole.get((vpc_id, begun, since))
        if pieces is None:
            rows = self.tx.session.execute(_PARTS, {"vpc_id": vpc_id, "since": -1})
            pieces = b"".join(
                _piece(kind, name, max(revision, begun), body)
                for kind, name, revision, body in rows
                if body is not None or revision > since
            )
            self._whole[vpc_id, begun, since] = pieces
        return pieces

    def _gone_parts(self, vpc_id: str, gone: int) -> bytes:
        """The removals of all that a host may have of a VPC that it has nothing to do with since a revision."""
        rows = self.tx.session.execute(_PARTS, {"vpc_id": vpc_id, "since": -1})
        return b"".join(wire.removal(kind, name, gone) for kind, name, _, _ in rows)


def _piece(kind: int, resource_id: str, revision: int, body: bytes | None, *, force: bool = False) -> bytes:
    if body is None:
        return wire.removal(kind, resource_id, revision, force=force)
    return wire.resource(body, revision)


def epoch_of(tx: Transaction) -> str:
    """The name of this database's life: revisions of another one mean nothing."""
    return tx.session.get_one(CloudFact, "epoch").value


def everything(tx: Transaction, host_id: str) -> Update:
    """Collect the whole desired state of a host."""
    return Reader(tx).everything(host_id)


def changes_since(tx: Transaction, host_id: str, revision: int) -> Update:
    """Collect what a host has missed since a revision."""
    return Reader(tx).since(host_id, revision)
