"""Cost allocation tags: the keys by which an account divides its costs, and the values that its resources had when.

As in https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/cost-alloc-tags.html: a use has the tags that its
resource had at that time, and those only whose key was active then.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, exists, func, insert, literal, or_, select, update

from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared, Question
from stead_controller.db.tables import CostTag, Tag, UsageTag
from stead_controller.errors import LimitExceeded
from stead_controller.request.lookup import batches
from stead_controller.request.transaction import Transaction

MOST_ACTIVE: Final = 500
"""AWS's quota of active keys: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/billing-limits.html."""
KINDS: Final = frozenset({"instance", "volume", "snapshot", "elastic-ip", "natgateway", "network-interface"})
"""The types of resources whose use is billed."""

_FACT: Final = "cost_tags:"
_ACTIVE: Final = Prepared(
    select(CostTag.key).where(CostTag.account_id == bindparam("account_id"), CostTag.active.is_(True))
)
_INSERT: Final = Prepared(insert(UsageTag))
_NEXT_KEY: Final = Prepared(
    select(func.min(Tag.key)).where(Tag.account_id == bindparam("account_id"), Tag.key > bindparam("after"))
)


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A tag key: whether it is active, when that was changed (seconds since 1970), and whether a resource has it."""

    key: str
    active: bool
    changed: int | None
    used: bool


def active_keys(tx: Transaction, account_id: str) -> frozenset[str]:
    """Return an account's active keys."""
    return frozenset(_ACTIVE.scalars(tx.connection, {"account_id": account_id}))


def begin(tx: Transaction, account_id: str, tags: Iterable[Mapping[str, str]]) -> None:
    """Note the tags with which resources are created; `tags` are rows of the table of tags."""
    tags = [tag for tag in tags if tag["resource_type"] in KINDS]
    if not tags:
        return
    active = active_at_launch(tx, account_id)
    _INSERT.many(tx.connection, [_row(tag, 0) for tag in tags if tag["key"] in active])


def question(account_id: str) -> Question:
    """Return what `active_keys` asks, so that the database can answer it with others."""
    return _ACTIVE, {"account_id": account_id}


def active_at_launch(tx: Transaction, account_id: str) -> frozenset[str]:
    """Return an account's active keys, read once per transaction: each instance of a launch asks for them."""
    fact = f"{_FACT}{account_id}"
    if fact not in tx.facts:
        tx.facts[fact] = active_keys(tx, account_id)
    found: frozenset[str] = tx.facts[fact]
    return found


def observe(tx: Transaction, account_id: str, resource_ids: Collection[str], now: datetime) -> None:
    """Note the tags that resources have from now on."""
    active = active_keys(tx, account_id)
    if not active:
        return
    for batch in batches(resource_ids):
        _observe(tx, account_id, batch, active, int(now.timestamp()))


def _observe(
    tx: Transaction, account_id: str, resource_ids: Collection[str], active: Collection[str], now: int
) -> None:
    columns = (Tag.resource_id, Tag.key, Tag.value)
    mine = (Tag.account_id == account_id, Tag.resource_id.in_(resource_ids), Tag.resource_type.in_(KINDS))
    has = {(row[0], row[1]): row[2] for row in tx.session.execute(select(*columns).where(*mine)) if row[1] in active}
    of_these = (UsageTag.account_id == account_id, UsageTag.resource_id.in_(resource_ids), UsageTag.key.in_(active))
    earliest: dict[tuple[str, str], int] = {}
    for known in tx.session.scalars(select(UsageTag).where(*of_these)).all():
        which = (known.resource_id, known.key)
        if known.ended is None and has.get(which) == known.value:
            del has[which]
            continue
        if known.ended is None and known.began >= now:
            tx.session.delete(known)
            known.ended = known.began
        elif known.ended is None:
            known.ended = now
        earliest[which] = max(earliest.get(which, 0), known.ended)
    tx.session.flush()
    rows = [
        {
            "account_id": account_id,
            "key": which[1],
            "resource_id": which[0],
            "began": max(now, earliest.get(which, 0)),
            "ended": None,
            "value": value,
        }
        for which, value in has.items()
    ]
    _INSERT.many(tx.connection, rows)


def statuses(
    tx: Transaction, account_id: str, *, keys: Collection[str] | None = None, after: str = "", limit: int | None = None
) -> list[KeyStatus]:
    """List keys that a resource has or that were active once, sorted, after one of them, or only the given ones."""
    chosen = sorted(keys) if keys is not None else None
    query = select(CostTag).where(CostTag.account_id == account_id, CostTag.key > after).order_by(CostTag.key)
    if chosen is not None:
        query = query.where(CostTag.key.in_(chosen))
    if limit is not None:
        query = query.limit(limit)
    known = {row.key: row for row in tx.session.scalars(query)}
    used = set(_used(tx, account_id, after, limit) if chosen is None else _used_of(tx, account_id, chosen))
    found = [
        KeyStatus(key, row is not None and row.active, None if row is None else row.changed, key in used)
        for key in sorted(known.keys() | used)
        for row in [known.get(key)]
    ]
    return [each for each in found if each.key > after][:limit]


def keys_within(tx: Transaction, account_id: str, begin: int, end: int) -> list[str]:
    """List the keys that resources had in some time while they were active, sorted."""
    had = exists().where(
        UsageTag.account_id == account_id,
        UsageTag.key == CostTag.key,
        UsageTag.began < end,
        func.coalesce(UsageTag.ended, end) > begin,
    )
    query = select(CostTag.key).where(CostTag.account_id == account_id, had).order_by(CostTag.key)
    return list(tx.session.scalars(query))


def set_status(tx: Transaction, account_id: str, wanted: Mapping[str, bool], now: datetime) -> list[str]:
    """Make keys active or inactive from now on; returns those that no resource has, which stay as they are.

    Raises LimitExceeded for more active keys than AWS allows.
    """
    known = {each.key: each for each in statuses(tx, account_id, keys=wanted)}
    changed = {key: active for key, active in wanted.items() if key in known and known[key].active != active}
    at = int(now.timestamp())
    active = active_keys(tx, account_id)
    if len((active | {key for key, on in changed.items() if on}) - {key for key, on in changed.items() if not on}) > (
        MOST_ACTIVE
    ):
        raise LimitExceeded(f"An account can have {MOST_ACTIVE} active cost allocation tags.")
    for key, on in changed.items():
        (_open if on else _close)(tx, account_id, key, at)
    rows = [{"account_id": account_id, "key": key, "active": on, "changed": at} for key, on in changed.items()]
    upsert(tx.session, CostTag, rows)
    return [key for key in wanted if key not in known]


def _open(tx: Transaction, account_id: str, key: str, now: int) -> None:
    """Note the values that resources have of a key that becomes active."""
    mine = (UsageTag.account_id == account_id, UsageTag.key == key)
    latest = tx.session.scalar(select(func.max(UsageTag.ended)).where(*mine)) or 0
    columns = ("account_id", "key", "resource_id", "began", "value")
    began = literal(max(now, latest))
    having = select(Tag.account_id, Tag.key, Tag.resource_id, began, Tag.value).where(
        Tag.account_id == account_id, Tag.key == key, Tag.resource_type.in_(KINDS)
    )
    tx.session.execute(insert(UsageTag).from_select(columns, having))


def _close(tx: Transaction, account_id: str, key: str, now: int) -> None:
    mine = (UsageTag.account_id == account_id, UsageTag.key == key, UsageTag.ended.is_(None))
    apart = {"synchronize_session": False}
    tx.session.execute(delete(UsageTag).where(*mine, UsageTag.began >= now).execution_options(**apart))
    tx.session.execute(update(UsageTag).where(*mine).values(ended=now).execution_options(**apart))


def _used(tx: Transaction, account_id: str, after: str, limit: int | None) -> Iterable[str]:
    """Return the keys of an account's tags after one, one look into the index for each."""
    count = 0
    while limit is None or count < limit:
        found = _NEXT_KEY.scalar(tx.connection, {"account_id": account_id, "after": after})
        if found is None:
            return
        after = found
        count += 1
        yield after


def _used_of(tx: Transaction, account_id: str, keys: Collection[str]) -> Iterable[str]:
    mine = or_(*(Tag.key == key for key in keys))
    return tx.session.scalars(select(Tag.key).where(Tag.account_id == account_id, mine).distinct())


def _row(tag: Mapping[str, str], began: int) -> dict[str, str | int | None]:
    return {
        "account_id": tag["account_id"],
        "key": tag["key"],
        "resource_id": tag["resource_id"],
        "began": began,
        "ended": None,
        "value": tag["value"],
    }
