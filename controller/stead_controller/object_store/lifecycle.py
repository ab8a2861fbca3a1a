"""Lifecycle configurations: validation, ids of rules, and when a rule is due.

Pure. The server behind stores them, and `expiry.py` carries them out. https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
"""

import base64
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from xml.etree import ElementTree as ET

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers

_MOST_RULES: Final = 1000
_MOST_ID: Final = 255
_MOST_WAIT: Final = 365_000  # days, so that dates stay within the range of datetime
_MOST_DAYS: Final = 2**31 - 1
_SELECTING: Final = ("ID", "Status", "Filter", "Prefix")
_ACTIONS: Final = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
_MOVING: Final = ("Transition", "NoncurrentVersionTransition")  # to other storage classes
_DAYS: Final = (
    "Expiration/Days",
    "NoncurrentVersionExpiration/NoncurrentDays",
    "NoncurrentVersionExpiration/NewerNoncurrentVersions",
    "AbortIncompleteMultipartUpload/DaysAfterInitiation",
)
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


def with_ids(document: bytes) -> bytes:
    """Return a LifecycleConfiguration in which each rule without an id has got a new one; raises BadRequest."""
    root = answers.parse(document)
    rules = root.findall("Rule")
    if root.tag != "LifecycleConfiguration" or len(rules) != len(root) or not 1 <= len(rules) <= _MOST_RULES:
        raise answers.malformed()
    for rule in rules:
        _check(rule)
        given = rule.find("ID")
        if given is None:
            given = ET.Element("ID")
            rule.insert(0, given)
        if not (given.text or "").strip():
            given.text = base64.b64encode(str(uuid.uuid4()).encode()).decode()
        if len(given.text or "") > _MOST_ID:
            raise BadRequest(f"ID length should not exceed allowed limit of {_MOST_ID}", code="InvalidArgument")
    names = [rule.findtext("ID", "") for rule in rules]
    if len(set(names)) != len(names):
        raise BadRequest("Rule ID must be unique. Found same ID for more than one rule", code="InvalidArgument")
    root.set("xmlns", _NAMESPACE)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _check(rule: ET.Element) -> None:
    """Raise BadRequest for a rule that does nothing, has an invalid time, or asks for what is not implemented."""
    if rule.findtext("Status", "").strip() not in ("Enabled", "Disabled"):
        raise answers.malformed()
    for kind in _MOVING:
        if rule.find(kind) is not None:
            raise BadRequest(f"A lifecycle rule's {kind} is not implemented.", code="NotImplemented")
    if unknown := {each.tag for each in rule} - {*_SELECTING, *_ACTIONS}:
        raise BadRequest(f"A lifecycle rule's {min(unknown)[:80]} is not implemented.", code="NotImplemented")
    if not any(rule.find(kind) is not None for kind in _ACTIONS):
        raise BadRequest("At least one action needs to be specified in a rule", code="InvalidRequest")
    if (date := rule.findtext("Expiration/Date")) is not None and _moment(date).astimezone(UTC).time() != time():
        raise BadRequest("'Date' must be at midnight GMT", code="InvalidArgument")
    for path in _DAYS:
        for days in rule.findall(path):
            text = (days.text or "").strip()
            if not (text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _MOST_DAYS):
                what = f"'{days.tag}' for {path.partition('/')[0]} action must be a positive integer"
                raise BadRequest(what, code="InvalidArgument")


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """An enabled rule: the objects it applies to, and after which days or from which date they are removed.

    `larger` and `smaller` are exclusive bounds in bytes.
    """

    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    larger: int | None = None
    smaller: int | None = None
    days: int | None = None
    date: datetime | None = None
    marker: bool = False
    noncurrent_days: int | None = None
    newer_noncurrent: int = 0
    upload_days: int | None = None

    def is_of(self, key: str, size: int) -> bool:
        """Tell whether the rule applies to an object, apart from the object's tags."""
        larger = self.larger is None or size > self.larger
        smaller = self.smaller is None or size < self.smaller
        return key.startswith(self.prefix) and larger and smaller

    def has_expired(self, made: datetime, now: datetime) -> bool:
        """Tell whether a current version, created at `made`, must be removed."""
        if self.date is not None:
            return now >= self.date
        return self.days is not None and is_due(made, self.days, now)


def is_due(since: datetime, days: int, now: datetime) -> bool:
    """Tell whether that many days have passed, plus the rest of the day in which they ended, in UTC.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
    """
    ended = since.astimezone(UTC) + timedelta(days=min(days, _MOST_WAIT))
    midnight = ended.replace(hour=0, minute=0, second=0, microsecond=0)
    return now >= (midnight if midnight == ended else midnight + timedelta(days=1))


def read(document: bytes) -> tuple[LifecycleRule, ...]:
    """Parse the enabled rules of a LifecycleConfiguration; raises BadRequest."""
    rules = answers.parse(document).findall("Rule")
    return tuple(_read(rule) for rule in rules if rule.findtext("Status", "").strip() == "Enabled")


def _read(rule: ET.Element) -> LifecycleRule:
    place = rule.find("Filter/And")
    if place is None:
        place = rule.find("Filter")
    if place is None:
        place = rule
    tags = tuple((tag.findtext("Key", ""), tag.findtext("Value", "")) for tag in place.findall("Tag"))
    date = rule.findtext("Expiration/Date")
    return LifecycleRule(
        prefix=place.findtext("Prefix", ""),
        tags=tags,
        larger=_number(place, "ObjectSizeGreaterThan"),
        smaller=_number(place, "ObjectSizeLessThan"),
        days=_number(rule, "Expiration/Days"),
        date=None if date is None else _moment(date),
        marker=rule.findtext("Expiration/ExpiredObjectDeleteMarker", "").strip().lower() == "true",
        noncurrent_days=_number(rule, "NoncurrentVersionExpiration/NoncurrentDays"),
        newer_noncurrent=_number(rule, "NoncurrentVersionExpiration/NewerNoncurrentVersions") or 0,
        upload_days=_number(rule, "AbortIncompleteMultipartUpload/DaysAfterInitiation"),
    )


def _number(element: ET.Element, path: str) -> int | None:
    text = element.findtext(path)
    return None if text is None else int(text)


def _moment(text: str) -> datetime:
    """Parse a date, which is in UTC if it has no offset."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadRequest("'Date' must be at midnight GMT", code="InvalidArgument") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
