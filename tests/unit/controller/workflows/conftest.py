"""The database of the tests of resources."""

from tests.unit.controller.resources.conftest import database, world, world_file

__all__ = ["database", "world", "world_file"]
