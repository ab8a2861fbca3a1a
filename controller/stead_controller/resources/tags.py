"""Tags of all resources: written all or none, and visible only to the account that wrote them.

Images and snapshots that other accounts share can be tagged, too.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select, tuple_

from stead_controller.catalog import ids
from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.db.insert import upsert
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Instance, Tag, VpcPeeringConnection
from stead_controller.desired import desired_state
from stead_controller.errors import (
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    MissingParameter,
    NotFound,
)
from stead_controller.metering import cost_tags
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.lookup import Ids, Ways, batches, seen
from stead_controller.request.transaction import Transaction

type WaysOf = Callable[[Transaction, Caller, Ids], Ways]
type Shared = Mapping[str, WaysOf]

TAGS_PER_RESOURCE: Final = 50
_RESOURCES_AT_ONCE: Final = 1000

# Resources with a second column for an account that sees the resource as its own.
_SHARED_WITH: Final[dict[str, Any]] = {"vpc-peering-connection": VpcPeeringConnection.accepter_account_id}

# Keys become paths of the metadata service
# (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html).
_METADATA_KEY: Final = re.compile(r"(?!\.\.?\Z|_index\Z)[A-Za-z0-9+\-=.,_:@]+\Z")

# The cloud itself sets keys that begin so, and users cannot:
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
_IS_USERS: Final = func.substr(Tag.key, 1, 4) != "aws:"

_INSERT: Final = Prepared(insert(Tag))
OF: Final = Prepared(
    select(Tag.resource_id, Tag.key, Tag.value, Tag.account_id)
    .where(Tag.resource_id.in_(bindparam("ids", expanding=True)))
    .order_by(Tag.resource_id, Tag.key)
)
"""What `pairs_of` asks for resources of some `ids`."""

FILTERS: Final[dict[str, Condition]] = {
    "key": text(Tag.key),
    "value": text(Tag.value),
    "resource-id": text(Tag.resource_id),
    "resource-type": text(Tag.resource_type),
    "tag-key": text(Tag.key),
    "tag-value": text(Tag.value),
}


@dataclass(frozen=True, slots=True)
class TagToDelete:
    """A key to be deleted, whatever its value, or with exactly that value only."""

    key: str
    value: str | None = None


class DescribedTag(NamedTuple):
    """A tag of a resource."""

    resource_id: str
    key: str
    value: str
    resource_type: str


@dataclass(frozen=True, slots=True)
class Tagged[Row]:
    """A row with the keys and values of its tags, sorted by key."""

    row: Row
    tags: Sequence[tuple[str, str]]


def with_tags[Row](tx: Transaction, account_id: str, rows: Sequence[Row]) -> list[Tagged[Row]]:
    """Return rows, which have an `id`, with an account's tags."""
    with_ids: Sequence[Any] = rows
    found = pairs_of(tx, account_id, [row.id for row in with_ids])
    return [Tagged(row, found.get(row.id, ())) for row in with_ids]


def pairs_of(tx: Transaction, account_id: str, resource_ids: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """List the keys and values of resources' tags, sorted by key; a resource without tags has no entry."""
    found: dict[str, list[tuple[str, str]]] = {}
    for batch in batches(resource_ids):
        # Compare the account here: in the query it would make SQLite search all tags of the account instead.
        for resource_id, key, value, owner in OF.all(tx.connection, {"ids": batch}):
            if owner == account_id:
                found.setdefault(resource_id, []).append((key, value))
    return found


def create_on_launch(
    tx: Transaction,
    caller: Caller,
    made: Iterable[tuple[str, str]],
    tags: Mapping[str, Mapping[str, str]],
) -> None:
    """Tag new resources: `made` are pairs of resource type and id, `tags` are by resource type."""
    rows = [
        _row(caller, resource_id, resource_type, key, value)
        for resource_type, resource_id in made
        for key, value in tags.get(resource_type, {}).items()
    ]
    _INSERT.many(tx.connection, rows)
    cost_tags.begin(tx, caller.account_id, rows)


def remove_all(tx: Transaction, resource_ids: Iterable[str]) -> None:
    """Delete the tags of deleted resources."""
    for batch in batches(resource_ids):
        tx.session.execute(delete(Tag).where(Tag.resource_id.in_(batch)))


def create_tags(
    tx: Transaction,
    caller: Caller,
    resource_ids: Sequence[str],
    tags: Mapping[str, str],
    now: datetime,
    *,
    shared: Shared = MappingProxyType({}),
) -> None:
    """Set tags on resources of any type; `shared` has, by type, how the caller also sees others' resources.

    Raises MalformedId, NotFound, InvalidParameter for a key that instance metadata cannot show, LimitExceeded.
    """
    if not tags:
        raise MissingParameter("Tag")
    types = _types(tx, caller, resource_ids, shared)
    shown = _shown_in_metadata(tx, types)
    if shown:
        check_metadata_keys(tags)
    others = _count_others(tx, caller, types, tags)
    for resource_id in types:
        if others.get(resource_id, 0) + len(tags) > TAGS_PER_RESOURCE:
            raise LimitExceeded(
                f"The maximum number of tags for the resource {resource_id} has been reached "
                f"(limit: {TAGS_PER_RESOURCE})",
                code="TagLimitExceeded",
            )
    upsert(
        tx.session,
        Tag,
        [
            _row(caller, resource_id, resource_type, key, value)
            for resource_id, resource_type in types.items()
            for key, value in tags.items()
        ],
    )
    cost_tags.observe(tx, caller.account_id, types, now)
    _notify_hosts(tx, shown)


def delete_tags(
    tx: Transaction,
    caller: Caller,
    resource_ids: Sequence[str],
    doomed: Sequence[TagToDelete] | None,
    now: datetime,
    *,
    shared: Shared = MappingProxyType({}),
) -> None:
    """Delete tags of resources, all of the user's own when `doomed` is None; absent tags are not an error.

    `shared` is that of `create_tags`.

    Raises MalformedId, NotFound.
    """
    types = _types(tx, caller, resource_ids, shared)
    chosen: list[ColumnElement[bool]] = [Tag.account_id == caller.account_id, _IS_USERS]
    if doomed is not None:
        keys = [tag.key for tag in doomed if tag.value is None]
        pairs = [(tag.key, tag.value) for tag in doomed if tag.value is not None]
        if any(tag.key.lower().startswith("aws:") for tag in doomed):
            raise InvalidParameter("Tag keys starting with 'aws:' are reserved for internal use")
        chosen.append(or_(Tag.key.in_(keys), tuple_(Tag.key, Tag.value).in_(pairs)))
    for batch in batches(types):
        tx.session.execute(
            delete(Tag).where(Tag.resource_id.in_(batch), *chosen).execution_options(synchronize_session=False)
        )
    cost_tags.observe(tx, caller.account_id, types, now)
    _notify_hosts(tx, _shown_in_metadata(tx, types))


def describe_tags(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedTag]:
    """Find the caller's tags, sorted by resource and key; `asked.after` is a pair of these."""
    query = (
        select(Tag.resource_id, Tag.key, Tag.value, Tag.resource_type)
        .where(Tag.account_id == caller.account_id)
        .order_by(Tag.resource_id, Tag.key)
    )
    for one in asked.filters:
        if one.tag_key is not None:
            query = query.where(Tag.key == one.tag_key, text(Tag.value)(one))
        else:
            query = query.where(FILTERS[one.name](one))
    if asked.after is not None:
        query = query.where(tuple_(Tag.resource_id, Tag.key) > asked.after)
    if asked.limit is not None:
        query = query.limit(asked.limit)
    return [DescribedTag(*row) for row in tx.session.execute(query)]


def check_metadata_keys(keys: Iterable[str]) -> None:
    """Raise InvalidParameter for a key that cannot be a path of the metadata service."""
    for key in keys:
        if not _METADATA_KEY.match(key):
            raise InvalidParameter(
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), "
                "and must not be a reserved name ('.', '..', '_index')"
            )


def _row(caller: Caller, resource_id: str, resource_type: str, key: str, value: str) -> dict[str, str]:
    return {
        "resource_id": resource_id,
        "key": key,
        "value": value,
        "account_id": caller.account_id,
        "resource_type": resource_type,
    }


def _types(tx: Transaction, caller: Caller, resource_ids: Sequence[str], shared: Shared) -> dict[str, str]:
    """Return the type of each of the resources that the caller may tag; raises MalformedId before NotFound."""
    if not resource_ids:
        raise MissingParameter("ResourceId")
    if len(resource_ids) > _RESOURCES_AT_ONCE:
        raise InvalidParameter(f"At most {_RESOURCES_AT_ONCE} resources can be tagged at once")
    types: dict[str, str] = {}
    for resource_id in resource_ids:
        resource_type = ids.resource_type_of(resource_id)
        if resource_type is None:
            raise MalformedId("resource", resource_id)
        types[resource_id] = resource_type
    for resource_type in dict.fromkeys(types.values()):
        chosen = [one for one, kind in types.items() if kind == resource_type]
        _require(tx, caller, resource_type, chosen, shared.get(resource_type, partial(_own, resource_type)))
    return types


def _own(resource_type: str, tx: Transaction, caller: Caller, resource_ids: Ids) -> Ways:
    """The ways in which a resource may be the caller's, for `lookup.seen`."""
    del tx, resource_ids
    yield OF_TYPE[resource_type].table.account_id == caller.account_id
    if resource_type in _SHARED_WITH:
        yield _SHARED_WITH[resource_type] == caller.account_id


def _require(tx: Transaction, caller: Caller, resource_type: str, resource_ids: list[str], ways: WaysOf) -> None:
    table = OF_TYPE[resource_type].table
    found: set[str] = set()
    if table is not None:
        found.update(seen(tx, table.id, table.id, resource_ids, ways(tx, caller, resource_ids)))
    missing = [resource_id for resource_id in resource_ids if resource_id not in found]
    if missing:
        raise NotFound(resource_type, missing)


def _count_others(
    tx: Transaction, caller: Caller, resource_ids: Iterable[str], tags: Mapping[str, str]
) -> dict[str, int]:
    """Count the tags of resources other than the given ones; those of the cloud itself do not count."""
    query = (
        select(Tag.resource_id, func.count())
        .where(
            Tag.resource_id.in_(list(resource_ids)),
            Tag.key.not_in(list(tags)),
            _IS_USERS,
            Tag.account_id == caller.account_id,
        )
        .group_by(Tag.resource_id)
    )
    return {row[0]: row[1] for row in tx.session.execute(query)}


def _shown_in_metadata(tx: Transaction, resource_ids: Iterable[str]) -> list[str]:
    """Return those of the resources that are instances whose guests see their tags."""
    query = select(Instance.id).where(Instance.id.in_(list(resource_ids)), Instance.metadata_tags.is_(True))
    return list(tx.session.scalars(query))


def _notify_hosts(tx: Transaction, instance_ids: Iterable[str]) -> None:
    tx.session.flush()
    for instance_id in instance_ids:
        desired_state.refresh_instance(tx, instance_id)
