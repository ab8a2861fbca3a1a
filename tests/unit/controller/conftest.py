"""A migrated SQLite file for the tests of all parts of the controller."""

import pytest

from tests.support import empty_database
from tests.support.memory_folders import folder_in_memory, maker_in_memory  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def empty_database_file() -> bytes:
    """The bytes of a migrated database without rows."""
    return empty_database.content()
