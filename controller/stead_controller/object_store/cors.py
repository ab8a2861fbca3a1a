"""CORS configurations of buckets: which cross-origin requests are allowed, and the headers of their answers.

Pure. https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers

MOST_BYTES: Final = 64 << 10

_MOST_RULES: Final = 100
_MOST_SECONDS: Final = 2**31 - 1
_METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
_LISTS: Final = ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")
_VARY: Final = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@dataclass(frozen=True, slots=True)
class CorsRule:
    """One CORSRule; `seconds` is how long a browser may cache it, None if the rule does not say."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    name: str = ""
    seconds: int | None = None


def read(document: bytes) -> tuple[CorsRule, ...]:
    """Parse a CORSConfiguration; raises BadRequest."""
    root = answers.parse(document)
    if root.tag != "CORSConfiguration" or any(each.tag != "CORSRule" for each in root) or not len(root):
        raise answers.malformed()
    if len(root) > _MOST_RULES or len(document) > MOST_BYTES:
        raise answers.malformed()
    return tuple(_read_rule(each) for each in root)


def _read_rule(element: ET.Element) -> CorsRule:
    found = {tag: tuple((each.text or "").strip() for each in element.findall(tag)) for tag in _LISTS}
    if {each.tag for each in element} - {*_LISTS, "ID", "MaxAgeSeconds"}:
        raise answers.malformed()
    if not found["AllowedOrigin"] or not found["AllowedMethod"] or not all(all(each) for each in found.values()):
        raise answers.malformed()
    for method in found["AllowedMethod"]:
        if method not in _METHODS:
            text = f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            raise BadRequest(text, code="InvalidRequest")
    for tag in ("AllowedOrigin", "AllowedHeader"):
        for value in found[tag]:
            if value.count("*") > 1:
                raise BadRequest(f'{tag} "{value}" can not have more than one wildcard.', code="InvalidRequest")
    for value in found["ExposeHeader"]:
        if "*" in value:
            text = f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            raise BadRequest(text, code="InvalidRequest")
    if not all(value.isascii() and value.isprintable() for values in found.values() for value in values):
        raise answers.malformed()
    return CorsRule(
        found["AllowedOrigin"],
        found["AllowedMethod"],
        found["AllowedHeader"],
        found["ExposeHeader"],
        element.findtext("ID", ""),
        _seconds(element.findtext("MaxAgeSeconds")),
    )


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MOST_SECONDS):
        raise answers.malformed()
    return int(text)


def write(rules: Sequence[CorsRule]) -> bytes:
    """Write a CORSConfiguration."""
    return answers.cors([_fields(rule) for rule in rules])


def _fields(rule: CorsRule) -> list[tuple[str, str]]:
    """Return the elements of a rule, in the order in which S3 answers them."""
    named = [("ID", rule.name)] if rule.name else []
    lists = zip(_LISTS, (rule.origins, rule.methods, rule.headers, rule.exposed), strict=True)
    seconds = [] if rule.seconds is None else [("MaxAgeSeconds", str(rule.seconds))]
    return [*named, *((tag, value) for tag, values in lists for value in values), *seconds]


def headers_for(rules: Sequence[CorsRule], origin: str, method: str, asked: Sequence[str]) -> dict[str, str]:
    """Return the headers with which a browser lets a page of `origin` do this; none if no rule allows it.

    `asked` are the names of the headers that the page wants to send, in a preflight request.
    """
    for rule in rules:
        allowing = next((each for each in rule.origins if _matches(each, origin)), None)
        if allowing is None or method not in rule.methods:
            continue
        if not all(any(_matches(each.lower(), name.lower()) for each in rule.headers) for name in asked):
            continue
        found = {
            "access-control-allow-origin": "*" if allowing == "*" else origin,
            "access-control-allow-methods": ", ".join(rule.methods),
            "vary": _VARY,
        }
        if allowing != "*":
            found["access-control-allow-credentials"] = "true"
        if asked:
            found["access-control-allow-headers"] = ", ".join(name.lower() for name in asked)
        if rule.exposed:
            found["access-control-expose-headers"] = ", ".join(rule.exposed)
        if rule.seconds is not None:
            found["access-control-max-age"] = str(rule.seconds)
        return found
    return {}


def _matches(pattern: str, text: str) -> bool:
    """Tell whether a text matches a pattern with at most one `*`."""
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)
