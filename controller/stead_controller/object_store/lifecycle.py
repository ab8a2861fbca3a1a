"""Lifecycle configurations, as clients put them, become those that the server behind keeps: each rule has an id.

Pure. https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
"""

import base64
import uuid
from typing import Final
from xml.etree import ElementTree as ET

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers

_MOST_RULES: Final = 1000
_MOST_ID: Final = 255
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
    """Give a LifecycleConfiguration in which each rule that had no id has a new one; raises BadRequest."""
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
    """Raise BadRequest for a rule that does nothing, says when wrongly, or asks for what is not done."""
    if rule.findtext("Status", "").strip() not in ("Enabled", "Disabled"):
        raise answers.malformed()
    for kind in _MOVING:
        if rule.find(kind) is not None:
            raise BadRequest(f"A lifecycle rule's {kind} is not implemented.", code="NotImplemented")
    if unknown := {each.tag for each in rule} - {*_SELECTING, *_ACTIONS}:
        raise BadRequest(f"A lifecycle rule's {min(unknown)[:80]} is not implemented.", code="NotImplemented")
    if not any(rule.find(kind) is not None for kind in _ACTIONS):
        raise BadRequest("At least one action needs to be specified in a rule", code="InvalidRequest")
    for path in _DAYS:
        for days in rule.findall(path):
            text = (days.text or "").strip()
            if not (text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _MOST_DAYS):
                what = f"'{days.tag}' for {path.partition('/')[0]} action must be a positive integer"
                raise BadRequest(what, code="InvalidArgument")
