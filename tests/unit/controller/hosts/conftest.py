"""The database and world of the tests of resources, and what hosts are told of it."""

from tests.unit.controller.resources.conftest import database, empty_database_file, run, statements, world, world_file

__all__ = ["database", "empty_database_file", "run", "statements", "world", "world_file"]
