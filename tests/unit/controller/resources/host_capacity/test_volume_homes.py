"""Which host has room for volumes is asked by one statement, which means the same in each database."""

from dataclasses import replace

import pytest
from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite

from stead_controller.db.tables import StoragePool
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from tests.support.rows import CLOUD, GIB

POOL = {
    "name": "default",
    "backend": "directory",
    "volume_types": "",
    "is_default": True,
    "total": 10 * GIB,
    "free": 10 * GIB,
    "provisioned": 0,
}


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.psycopg.dialect()])
def test_a_pool_may_promise_a_fraction_of_its_size_more(dialect):
    """A parameter that had the type of the pool's size would be rounded."""
    written = volume_homes.HAS_ROOM.compile(dialect=dialect)
    assert written.binds["overcommit"].type.python_type is float
    assert "overcommit)s::" not in str(written)


def test_room_is_taken_up_to_the_overcommit_and_not_beyond(run, world):
    cloud = replace(CLOUD, volume_overcommit=1.5)
    run(lambda tx: tx.session.add(StoragePool(host_id=world.host_id, **POOL)))
    take = [DiskNeed(5, "gp3")]
    assert [run(volume_homes.reserve, cloud, world.host_id, take) for _ in range(4)] == [["default"]] * 3 + [None]
    run(volume_homes.release, world.host_id, "default", 5)
    assert run(volume_homes.reserve, cloud, world.host_id, take) == ["default"]
    run(lambda tx: tx.session.execute(update(StoragePool).values(total=9 * GIB)))
    assert run(volume_homes.reserve, cloud, world.host_id, take) is None
