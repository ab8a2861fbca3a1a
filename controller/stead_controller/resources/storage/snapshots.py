"""Snapshots: which of them a caller sees and may use, with their details."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, String, and_, case, cast, select

from stead_controller.db.tables import Snapshot, SnapshotPermission, SnapshotTier
from stead_controller.errors import InvalidParameter, NotFound, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, constant, flag, instant, number, text
from stead_controller.request.owners import CLOUD_ACCOUNT, CLOUD_ALIAS, accounts_of, is_account
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags

NO_VOLUME: Final = "vol-ffffffff"
"""The volume of snapshots that were made of none, as EC2 shows it for copies."""

FILTERS: Final[dict[str, Condition]] = {
    "description": text(Snapshot.description),
    "encrypted": flag(Snapshot.encrypted),
    "owner-alias": text(case((Snapshot.account_id == CLOUD_ACCOUNT, CLOUD_ALIAS))),
    "owner-id": text(Snapshot.account_id),
    "progress": text(cast(Snapshot.progress, String) + "%"),
    "snapshot-id": text(Snapshot.id),
    "start-time": instant(Snapshot.started),
    "status": text(Snapshot.state),
    "storage-tier": text(Snapshot.storage_tier),
    "transfer-type": constant("standard"),
    "volume-id": text(Snapshot.volume_id),
    "volume-size": number(Snapshot.volume_size),
}


@dataclass(frozen=True, slots=True)
class SnapshotSelection:
    """What DescribeSnapshots asks for: owners (accounts, `self`, aliases) and who must be able to restore them."""

    selection: Selection = field(default_factory=Selection)
    owners: tuple[str, ...] = ()
    restorable_by: tuple[str, ...] = ()


class DescribedSnapshot(NamedTuple):
    """A snapshot with its tags; what may be shown otherwise than its row has it is said here.

    `state` is EC2's word, `progress` in percent, `stored_size` in bytes.
    """

    snapshot: Snapshot
    state: str
    progress: int
    completed: datetime | None
    stored_size: int | None
    tags: Sequence[tuple[str, str]]
    restored_until: datetime | None = None


def find_usable(tx: Transaction, caller: Caller, snapshot_id: str) -> Snapshot:
    """Return a completed snapshot that the caller may make volumes of: an own one, a shared one, a public one.

    Raises MalformedId, NotFound, WrongState.
    """
    snapshot = find_visible(tx, caller, snapshot_id)
    if snapshot.state != "completed":
        raise WrongState("snapshot", f"Snapshot {snapshot_id} is not completed; its state is {snapshot.state}.")
    require_restored(snapshot)
    return snapshot


def is_usable(snapshot: Snapshot | None) -> bool:
    """Tell whether a snapshot that an image names is there, complete and not archived."""
    return snapshot is not None and snapshot.state == "completed" and snapshot.storage_tier != "archive"


def require_restored(snapshot: Snapshot) -> None:
    """Raise WrongState for a snapshot that is archived."""
    if snapshot.storage_tier == "archive":
        raise WrongState("snapshot", f"Snapshot {snapshot.id} is archived; it must be restored before it can be used.")


def find_visible(tx: Transaction, caller: Caller, snapshot_id: str) -> Snapshot:
    """Return a snapshot that the caller sees; raises MalformedId, NotFound."""
    return lookup.find_seen(tx, "snapshot", Snapshot, snapshot_id, ways(tx, caller, [snapshot_id]))


def find_own(tx: Transaction, caller: Caller, snapshot_id: str) -> Snapshot:
    """Return one of the caller's own snapshots; raises MalformedId, NotFound."""
    snapshot = lookup.find(tx, caller, "snapshot", Snapshot, snapshot_id)
    if snapshot.state == "deleting":
        raise NotFound("snapshot", snapshot_id)
    return snapshot


def describe(tx: Transaction, caller: Caller, asked: SnapshotSelection) -> list[DescribedSnapshot]:
    """Find snapshots that the caller sees, with their details, sorted by id.

    Raises MalformedId, NotFound for ids, InvalidParameter for owners.
    """
    seen_by = partial(ways, tx, caller)
    lookup.require_seen(tx, "snapshot", Snapshot.id, asked.selection.ids, seen_by)
    selection = lookup.only_seen(tx, asked.selection, "snapshot-id", Snapshot.id, seen_by)
    only_mine = set(accounts_of(caller, asked.owners)) == {caller.account_id}
    owned = [] if only_mine else _owned(caller, asked.owners)  # said twice, it would win over the filters' indexes
    own, of_others = _restorable(caller, asked.restorable_by, has_shared=_has_shared(tx, caller))
    seen: set[str] = set()
    # Apart, each is a walk along an index; together they would have to be sorted.
    for kind in own if only_mine else own + of_others:
        seen.update(lookup.select_ids(tx, caller, Snapshot.id, selection, kind, *owned, conditions=FILTERS))
    ids = sorted(seen)[: asked.selection.limit]
    found = lookup.rows(tx, Snapshot, ids)
    tagged = tags.pairs_of(tx, caller.account_id, ids)
    until = _restored_until(tx, ids)
    return [_described(snapshot, tagged.get(snapshot.id, ()), until.get(snapshot.id)) for snapshot in found]


def describe_begun(tx: Transaction, caller: Caller, made: Sequence[Snapshot]) -> list[DescribedSnapshot]:
    """Return new snapshots, which are shown as pending to the caller, even those that are complete at once."""
    tagged = tags.pairs_of(tx, caller.account_id, [snapshot.id for snapshot in made])
    return [DescribedSnapshot(snapshot, "pending", 0, None, None, tagged.get(snapshot.id, ())) for snapshot in made]


def _restored_until(tx: Transaction, snapshot_ids: Sequence[str]) -> dict[str, datetime]:
    """Return until when those of some snapshots are restored that will be archived again by themselves."""
    found: dict[str, datetime] = {}
    for batch in lookup.batches(snapshot_ids):
        columns = SnapshotTier.snapshot_id, SnapshotTier.restore_expiry
        restored = select(*columns).where(SnapshotTier.snapshot_id.in_(batch), SnapshotTier.restore_expiry.is_not(None))
        found |= {snapshot_id: until for snapshot_id, until in tx.session.execute(restored) if until is not None}
    return found


def _described(
    snapshot: Snapshot, snapshot_tags: Sequence[tuple[str, str]], restored_until: datetime | None
) -> DescribedSnapshot:
    return DescribedSnapshot(
        snapshot,
        state=snapshot.state,
        progress=snapshot.progress,
        completed=snapshot.completed,
        stored_size=snapshot.stored_size if snapshot.state == "completed" else None,
        tags=snapshot_tags,
        restored_until=restored_until,
    )


def ways(tx: Transaction, caller: Caller, snapshot_ids: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """The ways in which snapshots with these ids may be visible to the caller, for `lookup.seen`."""
    mine, public, _ = _visible(caller)
    yield mine
    yield public
    permitted = select(SnapshotPermission.snapshot_id).where(
        SnapshotPermission.account_id == caller.account_id, SnapshotPermission.snapshot_id.in_(snapshot_ids)
    )
    given = tx.session.scalars(permitted).all()
    if given:
        yield and_(Snapshot.id.in_(given), _alive())


def _alive() -> ColumnElement[bool]:
    return Snapshot.state.in_(("pending", "completed"))


def _visible(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    """Own ones, public ones, and those that are shared with the caller: some are of several kinds.

    One that is being deleted is not visible any more.
    """
    alive = _alive()
    return (
        and_(Snapshot.account_id == caller.account_id, Snapshot.state != "deleting"),
        and_(alive, Snapshot.public.is_(True)),
        and_(alive, _permitted(caller.account_id)),
    )


def _permitted(account_id: str) -> ColumnElement[bool]:
    return Snapshot.id.in_(select(SnapshotPermission.snapshot_id).where(SnapshotPermission.account_id == account_id))


def _has_shared(tx: Transaction, caller: Caller) -> bool:
    """Tell whether any snapshot is shared with the caller: most accounts have none, and then none is looked for."""
    given = select(SnapshotPermission.snapshot_id).where(SnapshotPermission.account_id == caller.account_id)
    return tx.session.scalar(given.limit(1)) is not None


def _owned(caller: Caller, owners: Sequence[str]) -> list[ColumnElement[bool]]:
    return [Snapshot.account_id.in_(accounts_of(caller, owners))] if owners else []


def _restorable(
    caller: Caller, users: Sequence[str], *, has_shared: bool
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """What the caller sees that one of the users may restore, or all: kinds among its own, and among those of others.

    `all` stands for everyone, `self` for the caller. For other accounts, only permissions of the caller's own snapshots
    are considered. Raises InvalidParameter.
    """
    mine, public, given = _visible(caller)
    if not users:
        return [mine], [public, given] if has_shared else [public]
    own: list[ColumnElement[bool]] = []
    of_others: list[ColumnElement[bool]] = []
    for user in dict.fromkeys(users):
        if user == "all":
            own.append(and_(mine, Snapshot.public.is_(True)))
            of_others.append(public)
        elif user in ("self", caller.account_id):
            own.append(mine)
            of_others += [given] if has_shared else []
        elif is_account(user):
            own.append(and_(mine, _permitted(user)))
        else:
            raise InvalidParameter(f"Invalid user [{user}]", code="InvalidUserID.Malformed")
    return own, of_others
