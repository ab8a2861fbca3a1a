"""A migrated SQLite file for the tests of all parts of the controller."""

import pytest

from stead_controller.db import migrate
from stead_controller.db.session import Database
from tests.support.world import closed


@pytest.fixture(scope="session")
def empty_database_file(tmp_path_factory) -> bytes:
    """The bytes of a migrated database without rows: migrating takes longer than most tests."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('db') / 'empty.sqlite'}")
    migrate.upgrade(database.engine)
    return closed(database)
