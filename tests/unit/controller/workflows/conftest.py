"""The database of the tests of resources."""

from tests.support.world import database, run, world, world_file
from tests.unit.controller.blocks.conftest import files, store, time

__all__ = ["database", "files", "run", "store", "time", "world", "world_file"]
