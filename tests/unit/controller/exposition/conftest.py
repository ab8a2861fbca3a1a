"""The database of the tests of resources."""

from tests.support.world import database, world, world_file

__all__ = ["database", "world", "world_file"]
