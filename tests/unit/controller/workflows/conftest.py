"""The database of the tests of resources."""

from tests.support.world import database, world, world_file
from tests.unit.controller.blocks.conftest import files, store, time

__all__ = ["database", "files", "store", "time", "world", "world_file"]
