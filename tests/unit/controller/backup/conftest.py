"""A controller's state with a database and blocks, and an empty folder for its backups."""

import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stead_controller.backup import create as making
from stead_controller.backup import sealed_files
from stead_controller.backup.folder import FolderRepository
from stead_controller.backup.keys import Passphrase, Seal
from stead_controller.backup.repository import BLOCKS, Manifest
from stead_controller.blocks.directory import BlockDirectory
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BLOCK_BYTES, pack
from tests.support import empty_database

PASSPHRASE = b"correct horse"


@dataclass
class Made:
    """A state and its backups; the clock stands still until it is set."""

    state: Path
    repository: FolderRepository
    now: datetime = datetime(2026, 11, 29, 14, 15, tzinfo=UTC)
    shown: list[tuple[str, int, int]] = field(default_factory=list)

    def show(self, step: str, done: int, total: int) -> None:
        self.shown.append((step, done, total))

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.state / "stead.sqlite")) as opened:
            found = opened.execute(statement, values).fetchall()
            opened.commit()
            return found

    def add_block(self, content: bytes = b"") -> BlockName:
        """Store a block of these bytes, filled with zeros, or of random ones."""
        block = pack(content.ljust(BLOCK_BYTES, b"\0") if content else secrets.token_bytes(BLOCK_BYTES))
        name = BlockName.new(block.digest)
        BlockDirectory(self.state / "blocks").put([(name, block)])
        self.sql(
            "INSERT INTO blocks (digest, copy, stored_bytes, reference_count, damaged) VALUES (?, ?, ?, 1, 0)",
            name.digest,
            name.copy,
            len(block.content) + 1,
        )
        return name

    def remove_block(self, name: BlockName) -> None:
        self.sql("DELETE FROM blocks WHERE digest = ?", name.digest)

    def blocks(self) -> set[bytes]:
        """The digests of all blocks that the backups have."""
        return set(map(bytes.fromhex, self.repository.listed(BLOCKS)))

    def path_of(self, name: BlockName) -> Path:
        """Where the store has a block."""
        return self.state / "blocks" / name.path

    def create(self, passphrase: bytes = PASSPHRASE, *, seal: Seal | None = None, **changes: object) -> Manifest:
        """Make a backup, a minute after the last."""
        self.now += timedelta(minutes=1)
        source = making.Source(self.state, "r1", **changes)
        return making.create(source, self.repository, seal or Passphrase(passphrase), self.now, self.show)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A state with an empty database."""
    return prepared(tmp_path, monkeypatch)


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A state with an empty database, whose keys are sealed in no time."""
    monkeypatch.setattr(sealed_files, "COST", 4)
    monkeypatch.setattr(sealed_files.seal, "__defaults__", (4,))
    state = tmp_path / "controller"
    (state / "ca").mkdir(parents=True)
    empty_database.write(state / "stead.sqlite")
    (state / "master.key").write_bytes(b"k" * 32)
    (state / "ca" / "ca-key.pem").write_bytes(b"private")
    (state / "ca.pem").write_bytes(b"public")
    return Made(state, FolderRepository(tmp_path / "backups"))
