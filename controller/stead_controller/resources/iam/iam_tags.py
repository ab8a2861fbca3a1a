"""Tags of users, roles, instance profiles, policies and issuers; keys that differ only in case are the same.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import delete, select

from stead_controller.db.tables import IamTag
from stead_controller.errors import InvalidParameter
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import iam_names, iam_quotas

_TEXT: Final = re.compile(r"[^\W]|[\s_.:/=+\-@]")
_PATTERN: Final = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+"


def set_tags(tx: Transaction, resource_id: str, tags: Iterable[tuple[str, str]]) -> None:
    """Set tags, each a key and a value; raises InvalidParameter, LimitExceeded."""
    given: dict[str, tuple[str, str]] = {}
    for key, value in tags:
        _check(key, value)
        if key.lower() in given:
            raise InvalidParameter("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        given[key.lower()] = (key, value)
    known = {row.key_lower: row for row in _rows(tx, resource_id)}
    if len(known.keys() | given.keys()) > iam_quotas.TAGS:
        raise iam_quotas.exceeded("TagsPerResource", iam_quotas.TAGS)
    for lower, (key, value) in given.items():
        row = known.get(lower)
        if row is None:
            tx.session.add(IamTag(resource_id=resource_id, key_lower=lower, key=key, value=value))
        else:
            row.key, row.value = key, value
    tx.session.flush()


def remove_tags(tx: Transaction, resource_id: str, keys: Sequence[str]) -> None:
    """Remove tags by their keys; absent ones are ignored."""
    lower = [key.lower() for key in keys]
    tx.session.execute(delete(IamTag).where(IamTag.resource_id == resource_id, IamTag.key_lower.in_(lower)))


def remove_all(tx: Transaction, resource_id: str) -> None:
    """Remove all tags of a deleted resource."""
    tx.session.execute(delete(IamTag).where(IamTag.resource_id == resource_id))


def tags_of(tx: Transaction, resource_id: str) -> dict[str, str]:
    """All tags of a resource by its id, such as `AIDA…`."""
    return {row.key: row.value for row in _rows(tx, resource_id)}


def pairs_of(tx: Transaction, resource_id: str) -> list[tuple[str, str]]:
    """Keys and values of a resource's tags, sorted by key."""
    return [(row.key, row.value) for row in _rows(tx, resource_id)]


def _rows(tx: Transaction, resource_id: str) -> Sequence[IamTag]:
    mine = select(IamTag).where(IamTag.resource_id == resource_id).order_by(IamTag.key_lower)
    return tx.session.scalars(mine).all()


def _check(key: str, value: str) -> None:
    if key.lower().startswith("aws:"):
        raise InvalidParameter("Tag keys beginning with 'aws:' are reserved for AWS use.", code="InvalidInput")
    for member, text in (("tags.key", key), ("tags.value", value)):
        if not all(_TEXT.match(character) for character in text):
            raise iam_names.invalid(member, f"Member must satisfy regular expression pattern: {_PATTERN}")
