"""Reads the blocks of a backup, each checked by its digest."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from pathlib import Path
from typing import Final

from stead_controller.backup.progress import Show
from stead_controller.backup.repository import BLOCKS, BlockRow, Repository, block_rows
from stead_controller.blocks.interface import MOST_BYTES, decode
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BadBlockError

_AT_ONCE: Final = 64
_THREADS: Final = 8


def read_blocks(repository: Repository, database: Path, show: Show) -> Iterator[tuple[BlockRow, bytes | None]]:
    """Each block that a database names with its stored bytes; None for one that is missing or damaged."""
    total = sum(1 for _ in block_rows(database))
    done = 0
    show("blocks", 0, total)
    with ThreadPoolExecutor(_THREADS) as pool:
        for rows in batched(block_rows(database), _AT_ONCE):
            yield from zip(rows, pool.map(lambda row: _read(repository, row), rows), strict=True)
            done += len(rows)
            show("blocks", done, total)


def remove_damaged(repository: Repository, row: BlockRow) -> None:
    """Remove a block that can be read and is not what its digest says, so that the next backup copies it again."""
    try:
        stored = repository.get(BLOCKS, row.digest.hex(), MOST_BYTES + 1)
    except OSError:  # it is missing, or its disk cannot be read now: it may be sound
        return
    try:
        decode(BlockName(row.digest, row.copy), stored)
    except BadBlockError:
        repository.discard(BLOCKS, [row.digest.hex()])


def _read(repository: Repository, row: BlockRow) -> bytes | None:
    try:
        stored = repository.get(BLOCKS, row.digest.hex(), MOST_BYTES + 1)
        decode(BlockName(row.digest, row.copy), stored)
    except (OSError, BadBlockError):
        return None
    return stored
