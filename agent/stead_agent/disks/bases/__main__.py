"""Serves one base while it is fetched: `python -m stead_agent.disks.bases FOLDER ID SIZE KEY STATE CONTROLLER…`.

The agent starts it; it outlives the agent, as guests read from it. Once the base is complete its file gets its final
name, and later guests open the file; connected clients are still served, and the process ends after the last of them.

KEY is `-`, or for an encrypted base an inherited file descriptor of its key. An encrypted base stays encrypted on disk
and is served permanently, only to users that the agent allows to read it (`disk_users.allow_read`).
"""

import asyncio
import fcntl
import logging
import os
import resource
import signal
import socket
import struct
import sys
from functools import partial
from pathlib import Path
from typing import Final

from stead_agent.disks import disk_users
from stead_agent.disks.bases import filling
from stead_agent.disks.bases.filling import Filling, whole_file
from stead_agent.disks.bases.interface import BaseError
from stead_agent.disks.bases.lazy_base import LazyBase
from stead_agent.disks.bases.sealed_base import Cipher, SealedBase
from stead_agent.disks.bases.whole_base import WholeBase
from stead_agent.disks.block_store import BlockStore, BlockStoreError
from stead_agent.disks.nbd.server import Connection, Export
from stead_proto.tls import Identity

log = logging.getLogger("stead_agent.disks.bases")

_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: unix(7)
_LINGER_SECONDS: Final = 120.0  # a guest that was given the socket may still be waiting to start
_LOOK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_SAVE_SECONDS: Final = 5.0


class Program:
    """One base and its clients."""

    def __init__(self, folder: Path, base_id: str, size: int, store: BlockStore, cipher: Cipher | None) -> None:
        self._id = base_id
        self._size = size
        self._store = store
        self._filling = folder / "filling"
        self._cipher = cipher
        self._final = whole_file(folder, base_id, sealed=cipher is not None)
        self._socket = folder / f"{base_id}.nbd"
        self._export: Export | None = None
        self._connections = 0

    async def run(self) -> None:
        """Serve until the base is complete and no client is connected."""
        lazy = None
        if self._final.exists():
            self._export = WholeBase(self._final)
        else:
            target = await self._opened()
            lazy = LazyBase(target, self._store, lambda: self._connections > 0)
            self._export = lazy
            lazy.start()
        if self._cipher is not None:
            self._export = SealedBase(self._export, self._cipher)
        self._socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._connected, self._socket)
        self._socket.chmod(0o666)  # any user may connect, but only users of disks and machines are served
        try:
            if lazy is not None:
                await self._fill(lazy, target)
            await self._linger()
        finally:
            if lazy is not None:
                lazy.close()
            server.close()
        self._socket.unlink(missing_ok=True)

    async def _opened(self) -> Filling:
        """Open the existing files, or create them; waits for the list of segments."""
        while True:
            try:
                segments = self._store.segments(self._id)
                return await asyncio.to_thread(Filling, self._filling, self._id, self._size, segments)
            except (BlockStoreError, BaseError) as error:
                log.warning("%s: %s", self._id, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._export is not None
        if not self._may_read(writer.get_extra_info("socket")):
            writer.close()
            return
        self._connections += 1
        try:
            await Connection(self._export, reader, writer).run()
        finally:
            self._connections -= 1

    def _may_read(self, client: socket.socket) -> bool:
        """Tell whether the client is root or a user of disks, for an encrypted base one that may read it."""
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
        if self._cipher is None:
            return uid == 0 or disk_users.is_one(uid)
        return uid == 0 or (disk_users.users_of(self._socket) / str(uid)).exists()

    async def _fill(self, lazy: LazyBase, target: Filling) -> None:
        while not lazy.whole.is_set():
            try:
                async with asyncio.timeout(_SAVE_SECONDS):
                    await lazy.whole.wait()
            except TimeoutError:
                await asyncio.to_thread(target.save)
        mode = 0o444 if self._cipher is None else 0o400
        await asyncio.to_thread(filling.publish, target, self._final, mode)
        log.info("%s is whole", self._id)

    async def _linger(self) -> None:
        quiet = 0.0
        while quiet < _LINGER_SECONDS or self._cipher is not None:
            await asyncio.sleep(_LOOK_SECONDS)
            quiet = 0.0 if self._connections else quiet + _LOOK_SECONDS


def _cipher(key: str) -> Cipher | None:
    """Create the cipher from the key in an inherited file descriptor."""
    if key == "-":
        return None
    from stead_proto.block_cipher import KEY_BYTES, BlockCipher  # noqa: PLC0415 - 10 MiB, only for encrypted bases

    try:
        return BlockCipher(os.pread(int(key), KEY_BYTES, 0))
    finally:
        os.close(int(key))


def main(folder: Path, base_id: str, size: int, key: str, state: Path, controllers: list[str]) -> None:  # noqa: PLR0917 - the command line
    """Serve one base; returns at once when another process already does."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # Signals to the agent's terminal or process group are not meant for us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    cipher = _cipher(key)
    if cipher is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core file may contain the key
    own = folder / "filling" / f"{base_id}.server"
    with own.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process serves %s", base_id)
            return
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        store = BlockStore(controllers, partial(Identity.load, state))
        asyncio.run(Program(folder, base_id, size, store, cipher).run())
        own.unlink(missing_ok=True)
    os._exit(0)  # threads of gRPC may wait for ever


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]), sys.argv[6:])
