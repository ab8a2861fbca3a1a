"""Objects of an account's buckets as files: imports read and exports write them, without the S3 endpoint.

The account's permission is checked when the task begins; here it is checked that it still owns the bucket.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp

from stead_controller.aws.app import Transactions
from stead_controller.errors import BadRequest, NotFound
from stead_controller.object_store import answers, encryption
from stead_controller.object_store.addressing import check_key, path_of
from stead_controller.object_store.backend import Ask, Backend, BackendError
from stead_controller.resources.storage import buckets
from stead_controller.workflows.image_tasks import ObjectError

_PIECE: Final = 1 << 20
_MOST_PUT: Final = 5 << 30  # bytes that S3 takes by one request
_MOST_ERROR: Final = 1 << 16


class ImageFiles:
    """Implements the protocol of `workflows/image_tasks.py` with the server behind."""

    def __init__(self, transactions: Transactions, backend: Backend, region: str) -> None:
        """Take the dependencies."""
        self._region = region
        self._transactions = transactions
        self._backend = backend

    async def fetch(self, account_id: str, bucket: str, key: str, path: Path, most_bytes: int) -> None:
        """Write an object to a new file, and sync it to disk; raises ObjectError, BackendError, OSError."""
        ask = Ask("GET", path_of((await self._find(account_id, bucket, key)).backend_name, key))
        answer = await self._backend.send(ask)
        async with answer:
            await _require_success(answer, bucket, key)
            written = 0
            with path.open("xb") as file:
                try:
                    async for piece in answer.content.iter_chunked(_PIECE):
                        written += len(piece)
                        if written > most_bytes:
                            raise ObjectError(f"s3://{bucket}/{key} is larger than an image may be")
                        await asyncio.to_thread(file.write, piece)
                except aiohttp.ClientError as error:
                    raise BackendError(f"an object was cut off: {error}") from error
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())

    async def store(self, account_id: str, bucket: str, key: str, path: Path) -> None:
        """Store a file as an object; raises ObjectError, BackendError."""
        size = (await asyncio.to_thread(path.stat)).st_size
        if size > _MOST_PUT:
            raise ObjectError(f"the file has {size} bytes, of the {_MOST_PUT} that S3 takes at once")
        found = await self._find(account_id, bucket, key)
        at_rest = await encryption.of_bucket(self._backend, found, self._region, account_id)
        headers = {"content-length": str(size), **(at_rest.sent() if at_rest else {})}
        place = path_of(found.backend_name, key)
        answer = await self._backend.send(Ask("PUT", place, headers=headers, body=_pieces(path)))
        async with answer:
            await _require_success(answer, bucket, key)

    async def _find(self, account_id: str, name: str, key: str) -> buckets.BucketFacts:
        try:
            check_key(key)
            bucket = await self._transactions.run(lambda tx: buckets.find(tx, name), writes=False)
        except (BadRequest, NotFound) as error:
            raise ObjectError(error.message) from error
        if bucket.account_id != account_id:
            raise ObjectError("The specified bucket does not exist")
        return bucket


async def _require_success(answer: aiohttp.ClientResponse, bucket: str, key: str) -> None:
    """Raise ObjectError for permanent errors, BackendError for errors of the server."""
    if answer.status < 400:
        return
    code, message = answers.read_error(await answer.content.read(_MOST_ERROR))
    if answer.status >= 500 or answer.status == 403:
        raise BackendError(f"the server behind answers {answer.status} {code}: {message}")
    raise ObjectError(f"s3://{bucket}/{key}: {message or code}")


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
