"""The database and world of these tests, and what hosts are sent of it."""

from tests.support.reserving import booked, reserve, second
from tests.support.world import database, life, run, statements, unchanged, world, world_file

__all__ = ["booked", "database", "life", "reserve", "run", "second", "statements", "unchanged", "world", "world_file"]
