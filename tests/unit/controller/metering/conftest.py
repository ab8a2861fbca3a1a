"""The database and world of these tests."""

from tests.support.world import database, life, run, statements, unchanged, world, world_file

__all__ = ["database", "life", "run", "statements", "unchanged", "world", "world_file"]
