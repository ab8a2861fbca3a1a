"""Stores blocks as objects of a bucket, at any endpoint that speaks S3.

An object is durable when its upload is acknowledged. The bucket may hold other objects: ours are below a prefix.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from stead_controller.blocks.bucket import Bucket, Key
from stead_controller.blocks.interface import (
    MOST_BYTES,
    BlockStoreError,
    ListedBlock,
    MissingBlockError,
    decode,
    encode,
)
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.v1.blocks_pb2 import Block

_AT_ONCE: Final = 8
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 60
_TRIES: Final = 4
_ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})


class BlockBucket:
    """Stores blocks in a bucket, which must exist."""

    def __init__(self, bucket: Bucket, key: Key) -> None:
        """Create the client; nothing is sent yet."""
        self._bucket = bucket
        self._threads = ThreadPoolExecutor(_AT_ONCE, "blocks-s3")
        self._client = open_client(bucket.endpoint, bucket.region, bucket.ca_file, key)

    def put(self, blocks: Sequence[tuple[BlockName, Block]]) -> None:
        """Store blocks durably; raises BlockStoreError."""

        def upload(one: tuple[BlockName, Block]) -> None:
            name, block = one
            self._client.put_object(Bucket=self._bucket.name, Key=self._path(name), Body=encode(block))

        self._all("written", upload, blocks)

    def get(self, name: BlockName) -> Block:
        """Return a checked block; raises MissingBlockError, BadBlockError, BlockStoreError."""
        try:
            found = self._client.get_object(Bucket=self._bucket.name, Key=self._path(name))
            stored: bytes = found["Body"].read(MOST_BYTES + 1)
        except (BotoCoreError, ClientError, HTTPClientError) as error:
            if code_of(error) in _ABSENT:
                raise MissingBlockError(f"block {name.digest.hex()} is not in the store") from error
            raise BlockStoreError(f"block {name.digest.hex()} cannot be read: {error}") from error
        return decode(name, stored)

    def remove(self, names: Sequence[BlockName]) -> None:
        """Remove copies; raises BlockStoreError."""

        def delete(name: BlockName) -> None:
            self._client.delete_object(Bucket=self._bucket.name, Key=self._path(name))

        self._all("removed", delete, names)

    def list_all(self) -> Iterator[ListedBlock]:
        """List all copies, a page at a time; raises BlockStoreError."""
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket.name, Prefix=self._bucket.prefix):
                for found in page.get("Contents", ()):
                    name = BlockName.of_path(found["Key"].removeprefix(self._bucket.prefix))
                    if name is not None:
                        yield ListedBlock(name, found["LastModified"], found["Size"])
        except (BotoCoreError, ClientError) as error:
            raise BlockStoreError(f"the blocks cannot be listed: {error}") from error

    def _path(self, name: BlockName) -> str:
        return self._bucket.prefix + name.path

    def _all[Item](self, verb: str, work: Callable[[Item], None], items: Sequence[Item]) -> None:
        """Process several items in parallel; the first failure is raised when all have ended."""
        running = [self._threads.submit(work, item) for item in items]
        failures = [error for error in (future.exception() for future in running) if error is not None]
        for failure in failures:
            if not isinstance(failure, BotoCoreError | ClientError):
                raise failure
            raise BlockStoreError(f"a block cannot be {verb}: {failure}") from failure


def open_client(endpoint: str, region: str, ca_file: Path | None, key: Key | None) -> Any:
    """Create a client; nothing is sent yet. What is empty is as botocore finds it, in the environment or a profile."""
    session = botocore.session.Session()
    return session.create_client(
        "s3",
        region_name=region or session.get_config_variable("region") or "us-east-1",
        endpoint_url=endpoint or None,
        aws_access_key_id=None if key is None else key.id,
        aws_secret_access_key=None if key is None else key.secret,
        verify=str(ca_file) if ca_file is not None else None,
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            max_pool_connections=2 * _AT_ONCE,
            # Endpoints of other vendors do not know the newer checksums; a block has its own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        ),
    )


def code_of(error: Exception) -> str:
    """The code of an error that the server answered, or nothing."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
