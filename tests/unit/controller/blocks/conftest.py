"""A block store over a migrated database and a directory."""

from datetime import timedelta

import pytest

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.store import BlockStore
from tests.support import rows
from tests.support.world import database, run, statements, world, world_file

__all__ = ["database", "run", "statements", "world", "world_file"]


class Time:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.now = rows.NOW

    def __call__(self):
        return self.now

    def later(self, **by):
        self.now += timedelta(**by)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def files(tmp_path):
    return BlockDirectory(tmp_path / "blocks")


@pytest.fixture
def store(database, files, time):
    made = BlockStore(database, files, time, grace=timedelta(hours=1))
    yield made
    made.close()
