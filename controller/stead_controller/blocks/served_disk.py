"""A disk that a confined reader serves by NBD: which parts of it hold data, and its content in ascending order.

The reader has read a hostile file and may be controlled by the attacker: `NbdClient` trusts no length, and no more is
held here than a few parts.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from stead_proto.nbd import wire
from stead_proto.nbd.client import NbdClient
from stead_proto.nbd.wire import NbdError

_MOST_STATUS: Final = 1 << 30  # bytes of the disk whose extents are held at a time
_AT_ONCE: Final = 8  # parts that are read at a time
_PAUSE_SECONDS: Final = 0.003


def connect(socket_path: str, timeout: float, is_alive: Callable[[], bool]) -> NbdClient:
    """Connect to a server that is starting: it listens a moment after its socket is there. Raises NbdError.

    The server may take `timeout` seconds to begin, and as many for each answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            disk = NbdClient(Path(socket_path), "", contexts=(wire.ALLOCATION,), timeout=timeout)
        except NbdError as error:
            refused = isinstance(error.__cause__, ConnectionRefusedError)
            if not refused or time.monotonic() > deadline or not is_alive():
                raise
            time.sleep(_PAUSE_SECONDS)
            continue
        if wire.ALLOCATION not in disk.contexts.values():
            disk.close()
            raise NbdError("the server does not say where data are")
        return disk


def data_extents(disk: NbdClient) -> Iterator[tuple[int, int]]:
    """Yield the parts of the disk that are not known to be all zero, as start and end, ascending. Raises NbdError.

    Nothing else may be asked of the disk while the next one is taken.
    """
    for start in range(0, disk.size, _MOST_STATUS):
        for extent in disk.status(start, min(_MOST_STATUS, disk.size - start))[wire.ALLOCATION]:
            if not extent.flags & wire.IS_ZERO:
                yield extent.offset, extent.offset + extent.length


def read(disk: NbdClient, parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Read parts, given as offset and length, and yield each offset with its bytes, in their order. Raises NbdError.

    The parts may come from `data_extents`: none is taken while another is read.
    """
    for some in itertools.batched(parts, _AT_ONCE):
        found = dict(disk.read_each(some, in_flight=_AT_ONCE))
        for offset, _length in some:
            yield offset, found[offset]
