"""The controller's state in PostgreSQL: the schema there and back, transactions, and a whole controller that is killed.

With STEAD_TEST_POSTGRESQL=URL all tests of the API and most of the controller run there: see tests/README.md.
"""

import os
from datetime import UTC, datetime

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from stead_controller.db import migrate
from stead_controller.db.session import Database
from stead_controller.resources.storage import stored_blocks
from stead_controller.resources.storage.block_names import BlockName
from tests.support.clients import FAST
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user"),
]


@pytest.fixture(scope="module")
def server():
    made = PostgresqlServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def database(server):
    made = Database(server.new_database())
    migrate.upgrade(made.engine)
    yield made
    made.close()


def test_the_schema_is_the_same_there_and_back(database):
    assert migrate.differences(database.engine) == []
    config = Config()
    config.set_main_option("script_location", str(migrate._MIGRATIONS))
    (first, *_) = reversed([each.revision for each in ScriptDirectory.from_config(config).walk_revisions()])
    migrate.downgrade(database.engine, first)
    migrate.upgrade(database.engine)
    assert migrate.differences(database.engine) == []


def test_what_prepared_statements_alone_have_written_stays(database):
    name, now = BlockName.new(b"d" * 32), datetime(2026, 11, 29, tzinfo=UTC)
    assert database.run_blocking(lambda tx: stored_blocks.add(tx, {name: 5}, now)) == []
    assert database.run_blocking(lambda tx: stored_blocks.copies(tx, [name.digest]), writes=False) == {
        name.digest: name
    }

    def fail(tx):
        stored_blocks.add(tx, {BlockName.new(b"e" * 32): 5}, now)
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError, match="undone"):
        database.run_blocking(fail)
    assert database.run_blocking(lambda tx: stored_blocks.copies(tx, [b"e" * 32])) == {}


def test_a_controller_launches_is_killed_and_terminates(server, own_cloud):
    cloud = own_cloud(hosts=2, options=(f"--database-url={server.new_database()}",))
    ec2 = cloud.first_account.ec2
    request = {"ImageId": cloud.add_image(), "InstanceType": "t3.micro", "MinCount": 2, "MaxCount": 2}
    ids = [each["InstanceId"] for each in ec2.run_instances(**request)["Instances"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=FAST)
    killed = cloud.controller.kill_serving()
    wait_for(lambda: cloud.controller.another_serves(killed) and cloud.answers(), "another one serves", 30)
    (found,) = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    assert {each["State"]["Name"] for each in found["Instances"]} == {"running"}
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig=FAST)
