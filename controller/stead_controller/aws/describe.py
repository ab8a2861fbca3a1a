"""What all operations share: filters, pages, tags, and the digest behind a ClientToken.

A Describe operation goes like this:

    page = describe.page(call, params, "DescribeVolumes", ids="VolumeIds")
    rows = volumes.describe(call.tx, …, describe.filters(params, VOLUME_FILTERS), after=page.after, limit=page.fetch)
    shown, token = page.cut(rows, lambda row: (row.id,))
    return {"Volumes": [_volume(row) for row in shown], "NextToken": token}
"""

import binascii
import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from stead_controller.aws.call import Call, Params
from stead_controller.errors import BadRequest, InvalidCombination, InvalidParameter, LimitExceeded, MissingParameter
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.filters import Filter, is_tag_filter

MAX_FILTER_VALUES: Final = 200
MAX_TAGS: Final = 50
MAX_TAG_KEY: Final = 128
MAX_TAG_VALUE: Final = 256
MARKER_ITEMS: Final = 100
_MAC_BYTES: Final = 16
_MAX_TOKEN: Final = 1 << 16  # the name of a metric may be long

Key = tuple[str, ...]


def filters(params: Params, known: Collection[str], *, tags: bool = True) -> tuple[Filter, ...]:
    """Return the request's filters, each with a name in `known` or, if `tags` is true, one about tags.

    Raises InvalidParameter for an unknown name, BadRequest for too many values.
    """
    found = []
    total = 0
    for given in params.get("Filters") or params.get("Filter") or ():
        name, values = given.get("Name"), tuple(given.get("Values", ()))
        if not name:
            raise MissingParameter("Filter.Name")
        if name not in known and not (tags and is_tag_filter(name)):
            raise InvalidParameter(f"The filter '{name}' is invalid")
        total += len(values)
        if total > MAX_FILTER_VALUES:
            raise BadRequest(f"The maximum number of filter values is {MAX_FILTER_VALUES}", code="FilterLimitExceeded")
        found.append(Filter(name, values))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a sorted list of rows a request asks for: at most `limit` rows whose key is greater than `after`.

    `limit` None means all rows, `after` None means from the first.
    """

    operation: str
    limit: int | None
    after: Key | None
    account_id: str
    page_key: bytes

    @property
    def fetch(self) -> int | None:
        """The number of rows to read: one more than is shown, to find out whether more follow."""
        return None if self.limit is None else self.limit + 1

    def cut[Row](self, rows: Sequence[Row], key: Callable[[Row], Key]) -> tuple[Sequence[Row], str | None]:
        """Return the rows to show, and the NextToken if more follow; `key` returns the columns of the sort order."""
        if self.limit is None or len(rows) <= self.limit:
            return rows, None
        shown = rows[: self.limit]
        return shown, self.token(key(shown[-1]))

    def token(self, key: Key) -> str:
        """Return the NextToken of what follows a key."""
        return _seal(self.page_key, self.operation, self.account_id, key)


def page(
    call: Call,
    params: Params,
    operation: str,
    *,
    ids: str | None = None,
    size: str = "MaxResults",
    at_least: int = 5,
    at_most: int = 1000,
    default: int | None = None,
) -> Page:
    """Read MaxResults, or what the operation calls the `size` of a page, and NextToken.

    `ids` names the parameter of ids, which excludes MaxResults. Raises InvalidParameter, InvalidCombination, or
    BadRequest for a token that was not issued by this operation to this account.
    """
    limit = params.get(size)
    token = params.get("NextToken")
    if limit is not None:
        if ids is not None and params.get(ids):
            raise InvalidCombination(f"The parameter {ids} cannot be used with the parameter MaxResults")
        if not at_least <= limit <= at_most:
            expected = f"Expecting a value from {at_least} to {at_most}."
            raise InvalidParameter(
                f"Value ( {limit} ) for parameter {size[:1].lower()}{size[1:]} is invalid. {expected}"
            )
    after = _open(call.page_key, operation, call.caller.account_id, token) if token else None
    return Page(operation, default if limit is None else limit, after, call.caller.account_id, call.page_key)


def marker_page(call: Call, params: Params, operation: str) -> Page:
    """Read MaxItems and Marker, for IAM's pages; raises BadRequest for a marker of another operation or account."""
    marker = params.get("Marker")
    after = _open(call.page_key, operation, call.caller.account_id, marker, "ValidationError") if marker else None
    return Page(operation, params.get("MaxItems", MARKER_ITEMS), after, call.caller.account_id, call.page_key)


def _seal(page_key: bytes, operation: str, account_id: str, key: Key) -> str:
    text = json.dumps([operation, account_id, *key], separators=(",", ":")).encode()
    return urlsafe_b64encode(hmac.digest(page_key, text, "sha256")[:_MAC_BYTES] + text).decode()


def _open(page_key: bytes, operation: str, account_id: str, token: str, code: str = "InvalidNextToken") -> Key:
    try:
        sealed = urlsafe_b64decode(token.encode("ascii")) if len(token) <= _MAX_TOKEN else b""
    except (UnicodeEncodeError, binascii.Error):
        sealed = b""
    mac, text = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    if hmac.compare_digest(mac, hmac.digest(page_key, text, "sha256")[:_MAC_BYTES]):
        of_operation, of_account, *key = json.loads(text)
        if (of_operation, of_account) == (operation, account_id):
            return tuple(key)
    raise BadRequest("The token is not valid", code=code)


def tags_to_dict(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return a request's list of tags as a dict; raises InvalidParameter or LimitExceeded by EC2's limits of tags."""
    found: dict[str, str] = {}
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not key or len(key) > MAX_TAG_KEY:
            raise InvalidParameter(f"Tag keys must have 1 to {MAX_TAG_KEY} characters")
        if key.lower().startswith("aws:"):
            raise InvalidParameter("Tag keys starting with 'aws:' are reserved for internal use")
        if len(value) > MAX_TAG_VALUE:
            raise InvalidParameter(f"Tag values may have at most {MAX_TAG_VALUE} characters")
        if key in found:
            raise InvalidParameter(f"Duplicate tag key '{key}' specified.")
        found[key] = value
    if len(found) > MAX_TAGS:
        raise LimitExceeded(f"A resource may have at most {MAX_TAGS} tags", code="TagLimitExceeded")
    return found


def dict_to_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a dict of tags as answers list them, sorted by key."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def tags_on_create(params: Params, *resource_types: str) -> dict[str, dict[str, str]]:
    """Return the tags of TagSpecifications for each of the resource types that an operation creates.

    Raises InvalidParameter for a type that it does not create, and for a specification without tags.
    """
    found: dict[str, dict[str, str]] = {resource_type: {} for resource_type in resource_types}
    for specification in params.get("TagSpecifications", ()):
        resource_type = specification.get("ResourceType", "")
        if not resource_type:
            raise InvalidParameter("Tag specification resource type must have a value")
        if resource_type not in found:
            raise InvalidParameter(f"'{resource_type}' is not a valid taggable resource type for this operation.")
        if found[resource_type]:
            raise InvalidParameter(f"Tag specification resource type '{resource_type}' is given twice.")
        if not specification.get("Tags"):
            raise InvalidParameter("Tag specification must have at least one tag")
        found[resource_type] = tags_to_dict(specification.get("Tags", ()))
    return found


def request_digest(params: Params) -> str:
    """Return 64 hex digits that are equal for equal requests, apart from ClientToken and DryRun."""
    asked = {name: value for name, value in params.items() if name not in ("ClientToken", "DryRun")}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=_digestible)
    return hashlib.sha256(text.encode()).hexdigest()


def repeatable(operation: str, params: Params) -> Repeatable:
    """Return the data that make a request with a ClientToken idempotent."""
    token = params.get("ClientToken", "")
    return Repeatable(operation, token, request_digest(params) if token else "")


def _digestible(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no digest of a {type(value).__name__}")
