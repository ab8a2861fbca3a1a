"""A database for what the object store keeps in one."""

from tests.support.world import database

__all__ = ["database"]
