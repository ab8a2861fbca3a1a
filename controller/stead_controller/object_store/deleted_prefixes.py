"""Notes below which prefixes something was deleted lately: a server with folders may show those that are empty now.

Pure. SeaweedFS removes a folder two or three minutes after its last object.
"""

import html
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

KEPT_SECONDS: Final = 1800.0
MOST: Final = 10_000  # prefixes of all buckets together; the oldest are forgotten
_KEY: Final = re.compile(rb"<Key>([^<]*)</Key>")


class DeletedPrefixes:
    """The prefixes of each bucket that may have become empty, and since when."""

    def __init__(self) -> None:
        """Begin without any."""
        self._times: dict[tuple[str, str], float] = {}  # the oldest first

    def note(self, path: str, body: object, now: float) -> None:
        """Note what a request deleted: the object of a percent-encoded path, or the keys of DeleteObjects' document."""
        _, bucket, *key = path.split("/", 2)
        keys = [unquote(key[0])] if key else []
        if isinstance(body, bytes):
            keys += [html.unescape(each.decode("utf-8", "replace")) for each in _KEY.findall(body)]
        for prefix in dict.fromkeys(prefix for each in keys for prefix in above(each)):
            self._times.pop((bucket, prefix), None)
            self._times[bucket, prefix] = now
        while self._times:
            oldest = next(iter(self._times))
            if self._times[oldest] + KEPT_SECONDS >= now and len(self._times) <= MOST:
                break
            del self._times[oldest]

    def suspects(self, bucket: str, prefixes: Iterable[str]) -> dict[str, float]:
        """Return those prefixes that may be empty, with the time that `clear` wants."""
        if not self._times:
            return {}
        return {each: time for each in prefixes if (time := self._times.get((bucket, each))) is not None}

    def clear(self, bucket: str, prefix: str, time: float) -> None:
        """Forget a prefix that is not empty, unless something was deleted below it since."""
        if self._times.get((bucket, prefix)) == time:
            del self._times[bucket, prefix]


def above(key: str) -> list[str]:
    """Return the prefixes of a key that end in a slash, without the key itself."""
    return [key[: place + 1] for place, letter in enumerate(key) if letter == "/" and place + 1 < len(key)]
