"""Objects below a prefix of an S3 bucket. What fails is an OSError, as with files, named by the object's URL."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from stead_controller.blocks.s3 import code_of

PART_BYTES: Final = 16 << 20
"""What is larger is uploaded in parts of this size, so many at once that they need 64 MiB of memory."""

_PARTS_AT_ONCE: Final = 4
_MOST_PARTS: Final = 10_000
_AT_ONCE: Final = 8
_CHUNK_BYTES: Final = 1 << 20
_ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a list, by its key without the prefix; `age` in seconds, by the server's clock."""

    key: str
    size: int
    age: float


class Objects:
    """The objects below a prefix, which is empty or ends in a slash."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """Set the client of botocore; nothing is sent yet."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self.name = f"s3://{bucket}/{prefix}".rstrip("/")

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return str(self._client.meta.endpoint_url)

    def get(self, key: str, most: int = 64 << 20) -> bytes:
        """Return an object, or its first bytes; raises FileNotFoundError, OSError."""
        with self._told(key):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"]
            content: bytes = body.read(most)
            body.close()
        return content

    def fetch(self, key: str, target: Path) -> None:
        """Write an object into a new private file; raises FileNotFoundError, OSError."""
        with self._told(key):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"]
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    file.write(chunk)

    def size(self, key: str) -> int | None:
        """Return an object's size, or None where there is none; raises OSError."""
        try:
            with self._told(key):
                return int(self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)["ContentLength"])
        except FileNotFoundError:
            return None

    def put(self, key: str, content: bytes) -> None:
        """Store an object, durable when this returns; raises OSError."""
        with self._told(key):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def upload(self, key: str, source: Path) -> None:
        """Store a file, a large one in parts; raises OSError."""
        size = source.stat().st_size
        if size <= PART_BYTES:
            self.put(key, source.read_bytes())
            return
        part = max(PART_BYTES, -(-size // _MOST_PARTS))
        place = {"Bucket": self._bucket, "Key": self._prefix + key}
        with self._told(key):
            upload = {**place, "UploadId": self._client.create_multipart_upload(**place)["UploadId"]}
            try:
                self._upload_parts(upload, source, range(0, size, part), part)
            except BaseException:
                self._client.abort_multipart_upload(**upload)
                raise

    def _upload_parts(self, upload: dict[str, str], source: Path, offsets: range, part: int) -> None:
        with source.open("rb") as file, ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:

            def send(offset: int) -> dict[str, Any]:  # reads only what it sends
                number = offset // part + 1
                content = os.pread(file.fileno(), part, offset)
                sent = self._client.upload_part(**upload, PartNumber=number, Body=content)
                return {"PartNumber": number, "ETag": sent["ETag"]}

            parts = list(pool.map(send, offsets))
        self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def remove(self, keys: Iterable[str], may: Callable[[], None] | None = None) -> None:
        """Remove objects, several at once; one that is not there is as good as removed. Raises OSError.

        `may` is called before each, and ends it by what it raises.
        """

        def delete(key: str) -> None:  # one by one: lists of names need checksums that not all servers know
            if may is not None:
                may()
            with self._told(key):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(delete, keys):
                pass

    def listed(self, below: str = "") -> Iterator[StoredObject]:
        """List the objects whose keys begin so, a page at a time; raises OSError."""
        for page in self._pages(Prefix=self._prefix + below):
            now = _time_of(page)
            for found in page.get("Contents", ()):
                age = (now - found["LastModified"]).total_seconds()
                yield StoredObject(found["Key"].removeprefix(self._prefix), found["Size"], age)

    def folders(self) -> list[str]:
        """The names before the first slash; raises OSError."""
        pages = self._pages(Prefix=self._prefix, Delimiter="/")
        found = (one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ()))
        return [name.removeprefix(self._prefix).rstrip("/") for name in found]

    def abort_uploads(self) -> None:
        """End uploads in parts that somebody has left; raises OSError."""
        with self._told(""):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for one in page.get("Uploads", ()):
                    self._client.abort_multipart_upload(Bucket=self._bucket, Key=one["Key"], UploadId=one["UploadId"])

    def _pages(self, **asked: str) -> Iterator[dict[str, Any]]:
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, **asked))
        while True:
            with self._told(""):
                page = next(pages, None)
            if page is None:
                return
            yield page

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Make what the client raises an OSError."""
        try:
            yield
        except (BotoCoreError, ClientError, HTTPClientError) as error:
            where = f"{self.name}/{key}".rstrip("/")
            if code_of(error) in _ABSENT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where) from error
            raise OSError(errno.EIO, str(error), where) from error


def _time_of(page: dict[str, Any]) -> datetime:
    """The server's time when it answered."""
    said = page.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(said) if said else datetime.now(UTC)
