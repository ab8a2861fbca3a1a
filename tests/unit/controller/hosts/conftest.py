"""The database and world of the tests of resources, and what hosts are told of it."""

from tests.unit.controller.resources.conftest import database, run, statements, world, world_file

__all__ = ["database", "run", "statements", "world", "world_file"]
