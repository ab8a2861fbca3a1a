"""The database of the tests of resources."""

from tests.unit.controller.resources.conftest import database, empty_database_file, world, world_file

__all__ = ["database", "empty_database_file", "world", "world_file"]
