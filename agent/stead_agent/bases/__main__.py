"""A process that serves one base while it comes: `python -m stead_agent.bases FOLDER ID SIZE STATE CONTROLLER…`.

The agent starts it; it outlives the agent, as guests read from it. Once the base is whole its file gets its name, so
that later guests open that; those that are connected are served on, and when the last has gone, so does the process.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import struct
import sys
from functools import partial
from pathlib import Path
from typing import Final

from stead_agent import disk_users
from stead_agent.bases import filling
from stead_agent.bases.filling import Filling
from stead_agent.bases.interface import BaseError
from stead_agent.bases.lazy_base import LazyBase
from stead_agent.bases.whole_base import WholeBase
from stead_agent.block_store import BlockStore, BlockStoreError
from stead_agent.nbd.server import Connection, Export
from stead_proto.tls import Identity

log = logging.getLogger("stead_agent.bases")

_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: unix(7)
_LINGER_SECONDS: Final = 120.0  # a guest that was told of the socket may be waiting for its turn to start
_LOOK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_SAVE_SECONDS: Final = 5.0


class Program:
    """One base and its readers."""

    def __init__(self, folder: Path, base_id: str, size: int, store: BlockStore) -> None:
        self._id = base_id
        self._size = size
        self._store = store
        self._filling = folder / "filling"
        self._final = folder / f"{base_id}.raw"
        self._socket = folder / f"{base_id}.nbd"
        self._export: Export | None = None
        self._connections = 0

    async def run(self) -> None:
        """Serve until the base is whole and nobody reads from here."""
        lazy = None
        if self._final.exists():
            self._export = WholeBase(self._final)
        else:
            target = await self._opened()
            lazy = LazyBase(target, self._store, lambda: self._connections > 0)
            self._export = lazy
            lazy.start()
        self._socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._connected, self._socket)
        self._socket.chmod(0o666)  # for users of whom only those of disks and machines are served
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
        """Open what is there, or begin; the list of segments is waited for."""
        while True:
            try:
                segments = self._store.segments(self._id)
                return await asyncio.to_thread(Filling, self._filling, self._id, self._size, segments)
            except (BlockStoreError, BaseError) as error:
                log.warning("%s: %s", self._id, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._export is not None
        if not _may_read(writer):
            writer.close()
            return
        self._connections += 1
        try:
            await Connection(self._export, reader, writer).run()
        finally:
            self._connections -= 1

    async def _fill(self, lazy: LazyBase, target: Filling) -> None:
        while not lazy.whole.is_set():
            try:
                async with asyncio.timeout(_SAVE_SECONDS):
                    await lazy.whole.wait()
            except TimeoutError:
                await asyncio.to_thread(target.save)
        await asyncio.to_thread(filling.publish, target, self._final)
        log.info("%s is whole", self._id)

    async def _linger(self) -> None:
        quiet = 0.0
        while quiet < _LINGER_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            quiet = 0.0 if self._connections else quiet + _LOOK_SECONDS


def _may_read(writer: asyncio.StreamWriter) -> bool:
    """Tell whether the other end is a process that uses a disk, or root's."""
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
    return uid == 0 or disk_users.is_one(uid)


def main(folder: Path, base_id: str, size: int, state: Path, controllers: list[str]) -> None:
    """Serve one base; at once done when another process does so already."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    # What a terminal or a process group of the agent's is told does not concern us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
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
        asyncio.run(Program(folder, base_id, size, store).run())
        own.unlink(missing_ok=True)
    os._exit(0)  # threads of gRPC's may wait for what nobody will say


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
