"""Tags of groups, which they may give to the instances that they launch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, or_, select

from stead_controller.db.tables import ScalingGroup, ScalingTag
from stead_controller.errors import InvalidParameter, LimitExceeded
from stead_controller.request import lookup
from stead_controller.request.transaction import Transaction

MOST: Final = 50
_KEY: Final = 128
_VALUE: Final = 256


@dataclass(frozen=True, slots=True)
class GroupTag:
    """A tag, and whether instances get it too."""

    key: str
    value: str
    propagate: bool


def put(tx: Transaction, group: ScalingGroup, tags: Sequence[GroupTag]) -> None:
    """Set tags of a group; raises InvalidParameter, LimitExceeded."""
    rows = {row.key: row for row in of_groups(tx, [group.id]).get(group.id, ())}
    for tag in tags:
        _check(tag)
        row = rows.get(tag.key)
        if row is None:
            made = ScalingTag(
                group_id=group.id, key=tag.key, account_id=group.account_id, value=tag.value, propagate=tag.propagate
            )
            tx.session.add(made)
            rows[tag.key] = made
        else:
            row.value, row.propagate = tag.value, tag.propagate
    if len(rows) > MOST:
        raise LimitExceeded(f"An AutoScalingGroup may have at most {MOST} tags.")
    tx.session.flush()


def remove(tx: Transaction, group: ScalingGroup, keys: Sequence[str]) -> None:
    """Delete tags of a group."""
    doomed = delete(ScalingTag).where(ScalingTag.group_id == group.id, ScalingTag.key.in_(keys))
    tx.session.execute(doomed.execution_options(synchronize_session=False))


def of_groups(tx: Transaction, group_ids: Sequence[str]) -> Mapping[str, Sequence[ScalingTag]]:
    """Return the tags of groups, by group, sorted by key."""
    found: dict[str, list[ScalingTag]] = {}
    for batch in lookup.batches(group_ids):
        query = select(ScalingTag).where(ScalingTag.group_id.in_(batch)).order_by(ScalingTag.group_id, ScalingTag.key)
        for row in tx.session.scalars(query):
            found.setdefault(row.group_id, []).append(row)
    return found


def of_name(tx: Transaction, account_id: str, name: str) -> dict[str, str]:
    """Return the tags of a group that may not be there."""
    query = (
        select(ScalingTag.key, ScalingTag.value)
        .join(ScalingGroup, ScalingGroup.id == ScalingTag.group_id)
        .where(ScalingGroup.account_id == account_id, ScalingGroup.name == name)
    )
    return {row.key: row.value for row in tx.session.execute(query)}


def groups_with(account_id: str, name: str, values: Sequence[str]) -> Any:
    """Select the ids of an account's groups with a tag: its `tag-key`, its `tag-value`, or the value of `tag:KEY`."""
    query = select(ScalingTag.group_id).where(ScalingTag.account_id == account_id)
    if name == "tag-key":
        return query.where(ScalingTag.key.in_(values))
    if name == "tag-value":
        return query.where(ScalingTag.value.in_(values))
    if not name.startswith("tag:"):
        raise InvalidParameter(
            f"Filter type {name} is not correct. Allowed Filter types are: tag-key, tag-value, tag:*"
        )
    return query.where(ScalingTag.key == name.removeprefix("tag:"), ScalingTag.value.in_(values))


def describe(
    tx: Transaction,
    account_id: str,
    filters: Mapping[str, Sequence[str]],
    *,
    after: Sequence[str] | None,
    limit: int,
) -> list[tuple[ScalingTag, str]]:
    """List tags with the names of their groups, by name and key; filters: auto-scaling-group, key, value, propagate.

    `after` is the name and the key of the last one that was shown. Raises InvalidParameter.
    """
    query = (
        select(ScalingTag, ScalingGroup.name)
        .join(ScalingGroup, ScalingGroup.id == ScalingTag.group_id)
        .where(ScalingTag.account_id == account_id)
        .order_by(ScalingGroup.name, ScalingTag.key)
    )
    for name, values in filters.items():
        match name:
            case "auto-scaling-group":
                query = query.where(ScalingGroup.name.in_(values))
            case "key":
                query = query.where(ScalingTag.key.in_(values))
            case "value":
                query = query.where(ScalingTag.value.in_(values))
            case "propagate-at-launch":
                query = query.where(ScalingTag.propagate.in_([value.lower() == "true" for value in values]))
            case _:
                raise InvalidParameter(
                    f"Filter type {name} is not correct. Allowed Filter types are: auto-scaling-group key value "
                    "propagate-at-launch"
                )
    if after is not None:
        group, key = after
        query = query.where(or_(ScalingGroup.name > group, (ScalingGroup.name == group) & (ScalingTag.key > key)))
    return [(tag, name) for tag, name in tx.session.execute(query.limit(limit))]


def _check(tag: GroupTag) -> None:
    if not 1 <= len(tag.key) <= _KEY or len(tag.value) > _VALUE:
        raise InvalidParameter(f"The key or the value of the tag {tag.key[:_KEY]} is too long or too short.")
    if tag.key.lower().startswith("aws:"):
        raise InvalidParameter("Tag keys starting with aws: are reserved for internal use.")
