"""Carries out the lifecycle rules of buckets: removes objects, versions and uploads that are due.

A loop without input: it reads each bucket's rules and the objects they apply to, and removes what is due; several may
run at the same time. An object is removed only if it is still as it was listed.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import groupby
from typing import Final
from xml.etree import ElementTree as ET

from stead_controller.aws.app import Transactions
from stead_controller.clock import Clock
from stead_controller.errors import BadRequest
from stead_controller.object_store import lifecycle, listings, tagging
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.forwarding import BackendRefusal, send_short
from stead_controller.object_store.lifecycle import LifecycleRule, is_due
from stead_controller.resources.storage import buckets
from stead_controller.resources.storage.buckets import BucketFacts

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 3600.0  # rules count in days

_PAGE: Final = 100
_CHANGED: Final = frozenset({404, 412})  # what was listed no longer exists, or was replaced


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object, or a delete marker; `id` is `null` in a bucket without versioning."""

    key: str
    id: str
    made: datetime
    size: int
    is_current: bool
    is_marker: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """What to remove: a version, or, with `of_current`, an object, by a delete marker if its bucket is versioned.

    It is removed if it has all tags of at least one element of `tags`: the tags of one rule each, maybe none.
    """

    version: Version
    of_current: bool
    tags: tuple[tuple[tuple[str, str], ...], ...]


class ObjectExpiry:
    """Carries out lifecycle rules, every INTERVAL_SECONDS."""

    def __init__(self, transactions: Transactions, backend: Backend, clock: Clock) -> None:
        """Take the dependencies; the server behind is not used while there are no buckets."""
        self._transactions = transactions
        self._backend = backend
        self._clock = clock

    async def run(self) -> None:
        """Process all buckets; errors of one bucket are logged and do not affect the others."""
        after = ""
        while found := await self._page(after):
            for bucket in found:
                try:
                    await self._clear(bucket)
                except (BackendRefusal, BadRequest) as error:
                    log.warning("lifecycle_failed", extra={"bucket": bucket.name, "detail": error.message})
            after = found[-1].name

    async def _page(self, after: str) -> list[BucketFacts]:
        return await self._transactions.run(lambda tx: buckets.page(tx, after, _PAGE), writes=False)

    async def _clear(self, bucket: BucketFacts) -> None:
        path = path_of(bucket.backend_name)
        try:
            _, _, document = await send_short(self._backend, Ask("GET", path, [("lifecycle", "")]))
        except BackendRefusal as refusal:
            if refusal.status in _CHANGED:
                return
            raise
        rules, now, removed = lifecycle.read(document), self._clock(), 0
        for prefix in _outermost([rule.prefix for rule in rules if _is_of_objects(rule)]):
            async for versions in self._objects(bucket, prefix):
                for removal in due(versions, rules, now):
                    removed += await self._remove(bucket, removal)
        for rule in rules:
            if rule.upload_days is not None:
                removed += await self._abort(bucket, rule, now)
        if removed:
            log.info("lifecycle_removed", extra={"bucket": bucket.name, "count": removed})

    async def _objects(self, bucket: BucketFacts, prefix: str) -> AsyncIterator[list[Version]]:
        """Yield the versions of each object, newest first; an object split across pages is yielded whole."""
        held: list[Version] = []
        async for page in listings.versions(self._backend, bucket.backend_name, prefix):
            found = [_version(each) for each in page if each.tag in ("Version", "DeleteMarker")]
            groups = [list(group) for _, group in groupby([*held, *found], key=lambda each: each.key)]
            held = groups.pop() if groups else []
            for group in groups:
                yield group
        if held:
            yield held

    async def _remove(self, bucket: BucketFacts, removal: Removal) -> bool:
        """Remove it, unless its tags do not match the rule's or it has changed; tell whether it was removed."""
        version = removal.version
        path = path_of(bucket.backend_name, version.key)
        which = [] if removal.of_current else [("versionId", version.id)]
        try:
            if all(removal.tags):
                _, _, document = await send_short(self._backend, Ask("GET", path, [("tagging", ""), *which]))
                found = tagging.of_document(document).items()
                if not any(set(tags) <= set(found) for tags in removal.tags):
                    return False
            if removal.of_current:
                _, headers, _ = await send_short(self._backend, Ask("HEAD", path))
                if parsedate_to_datetime(headers["Last-Modified"]) != version.made.replace(microsecond=0):
                    return False
                await send_short(self._backend, Ask("DELETE", path, headers={"if-match": headers["ETag"]}))
            else:
                await send_short(self._backend, Ask("DELETE", path, which))
        except BackendRefusal as refusal:
            if refusal.status not in _CHANGED:
                raise
            return False
        return True

    async def _abort(self, bucket: BucketFacts, rule: LifecycleRule, now: datetime) -> int:
        """Abort uploads that were begun too long ago; return how many."""
        found: list[tuple[str, str]] = []
        async for page in listings.uploads(self._backend, bucket.backend_name, rule.prefix):
            found += [
                (each.findtext("Key", ""), each.findtext("UploadId", ""))
                for each in page.findall("Upload")
                if is_due(datetime.fromisoformat(each.findtext("Initiated", "")), rule.upload_days or 0, now)
            ]
        for key, upload in found:
            ask = Ask("DELETE", path_of(bucket.backend_name, key), [("uploadId", upload)])
            try:
                await send_short(self._backend, ask)
            except BackendRefusal as refusal:
                if refusal.status not in _CHANGED:
                    raise
        return len(found)


def _is_of_objects(rule: LifecycleRule) -> bool:
    return rule.days is not None or rule.date is not None or rule.marker or rule.noncurrent_days is not None


def _outermost(prefixes: Sequence[str]) -> list[str]:
    """Return the prefixes that do not start with another of them, each once."""
    found: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def _version(element: ET.Element) -> Version:
    """Parse a Version or DeleteMarker of a listing; the id is `null` if it was made without versioning."""
    return Version(
        key=element.findtext("Key", ""),
        id=element.findtext("VersionId", ""),
        made=datetime.fromisoformat(element.findtext("LastModified", "")),
        size=int(element.findtext("Size", "0")),
        is_current=element.findtext("IsLatest", "").strip().lower() == "true",
        is_marker=element.tag == "DeleteMarker",
    )


def due(versions: Sequence[Version], rules: Sequence[LifecycleRule], now: datetime) -> list[Removal]:
    """Return what to remove of one object; `versions` are all its versions, newest first."""
    found: list[Removal] = []
    for number, version in enumerate(versions):
        tags = tuple(rule.tags for rule in rules if _is_due(versions, number, rule, now))
        if tags:
            found.append(Removal(version, version.is_current and not version.is_marker, tags))
    return found


def _is_due(versions: Sequence[Version], number: int, rule: LifecycleRule, now: datetime) -> bool:
    """Tell whether a rule removes the version at this index, provided that it has the rule's tags."""
    version = versions[number]
    if not rule.is_of(version.key, version.size):
        return False
    if version.is_current and version.is_marker:
        return len(versions) == 1 and not rule.tags and (rule.marker or rule.has_expired(version.made, now))
    if version.is_current:
        return rule.has_expired(version.made, now)
    if not number or rule.noncurrent_days is None or number <= rule.newer_noncurrent:
        return False
    return is_due(versions[number - 1].made, rule.noncurrent_days, now)
