"""The disk of the controller's database is full: a change is refused whole, all else can be read, and it goes on (FAULTS 20)."""

import errno
import os
import subprocess

import pytest
from sqlalchemy import select

from stead_controller.db.session import Database
from stead_controller.db.tables import NetworkInterface
from stead_controller.errors import OutOfRoom
from stead_controller.resources.network import network_interface_life
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest
from tests.support import empty_database, rows
from tests.unit.controller.resources.test_address_races import check


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "stead-test", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def database(small_disk):
    database = Database(f"sqlite:///{empty_database.write(small_disk / 'stead.sqlite')}")
    yield database
    database.close()


def fill(path):
    """Write until there is no room; gives the file that took it."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(descriptor, bytes(1 << 16))
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017 - how it always ends
    finally:
        os.close(descriptor)


def test_a_full_disk_refuses_and_loses_nothing(small_disk, database):
    world = database.run_blocking(rows.build_world)
    request = CreateRequest(world.one.subnet_ids[0], AddressRequest(secondary_count=5))

    def create():
        return database.run_blocking(lambda tx: network_interface_life.create(tx, world.one.caller, request, rows.NOW))

    def there(database):
        return set(
            database.run_blocking(lambda tx: tx.session.scalars(select(NetworkInterface.id)).all(), writes=False)
        )

    known = {create()}
    fill(small_disk / "ballast")
    refused = 0
    while refused < 3:  # the log may have room left of before
        try:
            known.add(create())
        except OutOfRoom:
            refused += 1
    assert there(database) == known
    again = Database(f"sqlite:///{small_disk / 'stead.sqlite'}")  # a controller that starts on the full disk
    assert there(again) == known
    again.close()
    (small_disk / "ballast").unlink()
    known.add(create())  # by the same process, with no help
    assert there(database) == known
    database.run_blocking(check)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
