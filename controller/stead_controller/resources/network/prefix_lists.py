"""Managed prefix lists: create, change (by versions), restore, delete, find; notifies hosts in the same transaction.

See https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select

from stead_controller.catalog import ids
from stead_controller.db.tables import PrefixList, PrefixListEntry, Route, SecurityGroupRule
from stead_controller.desired import prefix_list_blocks
from stead_controller.errors import (
    BadRequest,
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
    WrongState,
)
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.request.written_blocks import canonical_block
from stead_controller.resources import tags
from stead_controller.resources.network import notify_hosts, security_group_rules, vpc_endpoint_services

# EC2's default quotas (https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html)
LISTS_PER_ACCOUNT: Final = 100
ENTRIES_PER_LIST: Final = 1000
MAX_VERSIONS: Final = 1000
ENTRIES_AT_ONCE: Final = 100

_KIND: Final = "prefix-list"
_VERSIONS: Final = {"IPv4": 4, "IPv6": 6}
_RESERVED: Final = "com.amazonaws"
_TEXT_LENGTH: Final = 255

FILTERS: Final[dict[str, Condition]] = {
    "owner-id": text(PrefixList.account_id),
    "prefix-list-id": text(PrefixList.id),
    "prefix-list-name": text(PrefixList.name),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A block with its description; in a request the block need not be in canonical form."""

    cidr: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """ModifyManagedPrefixList, parsed; None stays unchanged."""

    current_version: int | None = None
    name: str | None = None
    add: tuple[Entry, ...] = ()
    remove: tuple[str, ...] = ()
    max_entries: int | None = None


@dataclass(frozen=True, slots=True)
class NewList:
    """CreateManagedPrefixList, parsed."""

    name: str
    address_family: str
    max_entries: int
    entries: tuple[Entry, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DescribedPrefixList:
    """A prefix list with its tags; `is_of_service` when the cloud provides it for a service."""

    prefix_list: PrefixList
    is_of_service: bool
    tags: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ServicePrefixList:
    """The prefix list of a service with its blocks."""

    prefix_list: PrefixList
    blocks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Association:
    """A resource that refers to a prefix list, and its owner."""

    resource_id: str
    account_id: str


def create(tx: Transaction, caller: Caller, asked: NewList, *, repeatable: Repeatable, now: datetime) -> str:
    """Make a list and return its id; raises InvalidParameter, LimitExceeded, IdempotencyMismatch."""
    known = client_tokens.replay_request(tx, caller, repeatable, now)
    if known is not None:
        return known
    _check_name(asked.name)
    if asked.address_family not in _VERSIONS:
        raise InvalidParameter(f"Value ({asked.address_family}) for parameter addressFamily is invalid: IPv4 or IPv6.")
    _check_max_entries(asked.max_entries)
    blocks = _read(asked.entries, asked.address_family)
    _check_room(len(blocks), asked.max_entries)
    count = select(func.count()).where(PrefixList.account_id == caller.account_id)
    if tx.session.scalars(count).one() >= LISTS_PER_ACCOUNT:
        raise LimitExceeded(
            f"You have reached the limit on the number of prefix lists ({LISTS_PER_ACCOUNT}).",
            code="PrefixListLimitExceeded",
        )
    row = PrefixList(
        id=ids.new_id(_KIND),
        account_id=caller.account_id,
        name=asked.name,
        address_family=asked.address_family,
        max_entries=asked.max_entries,
        version=1,
        state="create-complete",
        created=now,
    )
    tx.session.add(row)
    tx.session.flush()
    _add_entries(tx, row, blocks)
    tags.create_on_launch(tx, caller, [(_KIND, row.id)], {_KIND: asked.tags})
    client_tokens.remember_request(tx, caller, repeatable, row.id, now)
    return row.id


def modify(tx: Transaction, caller: Caller, list_id: str, change: Change) -> str:
    """Change a list's entries (which makes a new version), its name or its size, and return its id.

    Raises MalformedId, NotFound, InvalidParameter, InvalidCombination, MissingParameter, LimitExceeded, and WrongState
    (PrefixListVersionMismatch) when another change came first.
    """
    row = lookup.find(tx, caller, _KIND, PrefixList, list_id)
    if change.max_entries is not None and (change.add or change.remove):
        raise InvalidCombination(
            "You cannot modify the entries of a prefix list and modify the size of a prefix list at the same time."
        )
    if change.name is not None:
        _check_name(change.name)
        row.name = change.name
    if change.max_entries is not None:
        _resize(tx, row, change.max_entries)
    if change.add or change.remove:
        if change.current_version is None:
            raise MissingParameter("currentVersion")
        _require_version(row, change.current_version)
        _change_entries(tx, row, change)
    elif change.current_version is not None:
        _require_version(row, change.current_version)
    row.state = "modify-complete"
    tx.session.flush()
    notify_hosts.prefix_list(tx, row)
    return row.id


def restore(tx: Transaction, caller: Caller, list_id: str, *, previous: int, current: int) -> str:
    """Restore a list's entries of an older version, as a new version, and return its id.

    Raises MalformedId, NotFound, InvalidParameter for an absent version, WrongState, LimitExceeded.
    """
    row = lookup.find(tx, caller, _KIND, PrefixList, list_id)
    _require_version(row, current)
    _require_known_version(row, previous)
    old = {one.cidr: one.description for one in _entries(tx, row, previous)}
    _check_room(len(old), row.max_entries)
    _replace_entries(tx, row, old)
    row.state = "restore-complete"
    tx.session.flush()
    notify_hosts.prefix_list(tx, row)
    return row.id


def remove(tx: Transaction, caller: Caller, list_id: str) -> DescribedPrefixList:
    """Delete a list and return it without its tags; raises MalformedId, NotFound, InUse."""
    row = lookup.find(tx, caller, _KIND, PrefixList, list_id)
    using = _using(tx, row)
    if using:
        raise InUse(f"The prefix list '{row.id}' is used by {using[0]} and cannot be deleted.")
    tx.session.delete(row)
    tx.session.flush()
    tags.remove_all(tx, [row.id])
    return DescribedPrefixList(row, is_of_service=False, tags=())


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedPrefixList]:
    """Find the caller's and services' prefix lists, sorted by id; raises MalformedId, NotFound."""
    lookup.require_seen(tx, _KIND, PrefixList.id, asked.ids, lambda _: vpc_endpoint_services.ways(caller))
    # Each way has its own index: with OR, the rows of other accounts would be read.
    ids_found = [
        each
        for way in vpc_endpoint_services.ways(caller)
        for each in lookup.select_ids(tx, caller, PrefixList.id, asked, way, conditions=FILTERS)
    ]
    found = lookup.rows(tx, PrefixList, sorted(ids_found)[: asked.limit])
    tagged = tags.pairs_of(tx, caller.account_id, [row.id for row in found])
    return [
        DescribedPrefixList(row, row.account_id == vpc_endpoint_services.OWNER, tagged.get(row.id, ())) for row in found
    ]


def of_services(tx: Transaction, caller: Caller, asked: Selection) -> list[ServicePrefixList]:
    """Find the prefix lists of the cloud's services, sorted by id; raises MalformedId, NotFound."""
    theirs = PrefixList.account_id == vpc_endpoint_services.OWNER
    lookup.require(tx, _KIND, PrefixList.id, asked.ids, theirs)
    found = lookup.rows(tx, PrefixList, lookup.select_ids(tx, caller, PrefixList.id, asked, theirs, conditions=FILTERS))
    return [ServicePrefixList(row, prefix_list_blocks.blocks(tx, row.id)) for row in found]


def entries(tx: Transaction, caller: Caller, list_id: str, version: int | None, asked: Selection) -> list[Entry]:
    """List the entries of a list, of its newest version unless one is named, sorted by their text.

    Raises MalformedId, NotFound, InvalidParameter for an absent version.
    """
    row = vpc_endpoint_services.find_list(tx, caller, list_id)
    if version is not None:
        _require_known_version(row, version)
    after = asked.after[0] if asked.after else None
    found = _entries(tx, row, row.version if version is None else version, after, asked.limit)
    return [Entry(one.cidr, one.description) for one in found]


def associations(tx: Transaction, caller: Caller, list_id: str, asked: Selection) -> list[Association]:
    """List the resources that refer to a prefix list, sorted by id; raises MalformedId, NotFound."""
    row = lookup.find(tx, caller, _KIND, PrefixList, list_id)
    after = asked.after[0] if asked.after else ""
    using = [one for one in _using(tx, row) if one > after][: asked.limit]
    return [Association(one, row.account_id) for one in using]


def _using(tx: Transaction, row: PrefixList) -> list[str]:
    """Return the sorted ids of the resources that refer to a list."""
    groups = select(SecurityGroupRule.group_id).where(SecurityGroupRule.prefix_list_id == row.id).distinct()
    tables = select(Route.route_table_id).where(Route.destination == row.id).distinct()
    return sorted([*tx.session.scalars(groups), *tx.session.scalars(tables)])


def _entries(
    tx: Transaction, row: PrefixList, version: int, after: str | None = None, limit: int | None = None
) -> Sequence[PrefixListEntry]:
    query = select(PrefixListEntry).where(PrefixListEntry.prefix_list_id == row.id, _in_version(version))
    if after is not None:
        query = query.where(PrefixListEntry.cidr > after)
    return tx.session.scalars(query.order_by(PrefixListEntry.cidr).limit(limit)).all()


def _in_version(version: int) -> ColumnElement[bool]:
    last = PrefixListEntry.last_version
    return (PrefixListEntry.first_version <= version) & or_(last.is_(None), last >= version)


def _change_entries(tx: Transaction, row: PrefixList, change: Change) -> None:
    wanted = {one.cidr: one.description for one in _entries(tx, row, row.version)}
    gone = _read([Entry(cidr) for cidr in change.remove], row.address_family)
    added = _read(change.add, row.address_family)
    for cidr in gone:
        if cidr in added:
            raise InvalidParameter(f"The CIDR {cidr} cannot be added and removed in one request.")
        if cidr not in wanted:
            raise InvalidParameter(f"The prefix list {row.id} has no entry {cidr}.")
        del wanted[cidr]
    _check_room(len(wanted | added), row.max_entries)
    _replace_entries(tx, row, wanted | added)


def _replace_entries(tx: Transaction, row: PrefixList, wanted: Mapping[str, str | None]) -> None:
    """Make a new version with these entries: removed ones end with the newest version, added ones begin after it."""
    known = {one.cidr: one for one in _entries(tx, row, row.version)}
    for cidr, one in known.items():
        if cidr not in wanted or wanted[cidr] != one.description:
            one.last_version = row.version
    fresh = {cidr: text for cidr, text in wanted.items() if cidr not in known or known[cidr].description != text}
    row.version += 1
    tx.session.flush()
    _add_entries(tx, row, fresh)
    _forget(tx, row)


def _forget(tx: Transaction, row: PrefixList) -> None:
    """Delete the entries that only expired versions had."""
    oldest = row.version - MAX_VERSIONS + 1
    if oldest > 1:
        doomed = select(PrefixListEntry).where(
            PrefixListEntry.prefix_list_id == row.id, PrefixListEntry.last_version < oldest
        )
        for one in tx.session.scalars(doomed).all():
            tx.session.delete(one)


def _add_entries(tx: Transaction, row: PrefixList, added: Mapping[str, str | None]) -> None:
    for cidr, description in added.items():
        values = {"prefix_list_id": row.id, "cidr": cidr, "first_version": row.version, "description": description}
        tx.session.add(PrefixListEntry(**values))
    tx.session.flush()


def _resize(tx: Transaction, row: PrefixList, max_entries: int) -> None:
    _check_max_entries(max_entries)
    _check_room(len(_entries(tx, row, row.version)), max_entries)
    row.max_entries = max_entries
    tx.session.flush()
    for user in _using(tx, row):
        if ids.is_id("security-group", user):
            security_group_rules.check_group_quota(tx, user)


def _require_version(row: PrefixList, version: int) -> None:
    if row.version != version:
        raise WrongState(
            _KIND,
            f"The prefix list has the incorrect version number: {version} is not the current one, {row.version}.",
            code="PrefixListVersionMismatch",
        )


def _require_known_version(row: PrefixList, version: int) -> None:
    if not max(1, row.version - MAX_VERSIONS + 1) <= version <= row.version:
        raise InvalidParameter(f"The prefix list {row.id} has no version {version}.", code="InvalidPrefixListVersion")


def _read(given: Iterable[Entry], address_family: str) -> dict[str, str | None]:
    """Return blocks in canonical form with their descriptions; raises InvalidParameter, LimitExceeded."""
    found: dict[str, str | None] = {}
    for one in given:
        cidr = canonical_block(one.cidr, _VERSIONS[address_family])
        if cidr in found:
            raise InvalidParameter(f"The CIDR {cidr} is given twice.")
        if one.description is not None and len(one.description) > _TEXT_LENGTH:
            raise InvalidParameter(f"A description has at most {_TEXT_LENGTH} characters.")
        found[cidr] = one.description or None
    if len(found) > ENTRIES_AT_ONCE:
        raise LimitExceeded(
            f"At most {ENTRIES_AT_ONCE} entries can be given at once.", code="PrefixListMaxEntriesExceeded"
        )
    return found


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _TEXT_LENGTH:
        raise InvalidParameter(f"A prefix list's name has 1 to {_TEXT_LENGTH} characters.")
    if name.startswith(_RESERVED):
        raise InvalidParameter(f"A prefix list's name cannot start with '{_RESERVED}'.")


def _check_max_entries(max_entries: int) -> None:
    if not 1 <= max_entries <= ENTRIES_PER_LIST:
        raise InvalidParameter(
            f"Value ({max_entries}) for parameter maxEntries is invalid: from 1 to {ENTRIES_PER_LIST}."
        )


def _check_room(count: int, max_entries: int) -> None:
    if count > max_entries:
        raise BadRequest(
            f"The prefix list would have {count} entries, and its maximum is {max_entries}.",
            code="PrefixListMaxEntriesExceeded",
        )
