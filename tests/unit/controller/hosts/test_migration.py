"""A database of before topics: nothing that hosts refer to is lost, and all hosts are sent everything anew."""

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from stead_controller.db import migrate, schema
from stead_controller.db.session import Database

BEFORE = "3ffbe96834c3"


def test_old_revisions_become_one_and_every_host_must_hear_everything(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
        connection.execute(text("INSERT INTO cloud_facts VALUES ('epoch', 'old')"))
        for number in (7, 41):
            connection.execute(
                text(
                    "INSERT INTO hosts (id, hostname, zone, state, schedulable, simulated, cpus, memory, cpus_free,"
                    " memory_free, cpus_reserved, memory_reserved, revision, revision_reached, architecture,"
                    " virtualization, virtualization_reason, agent_version, created)"
                    " VALUES (:id, 'box', 'z', 'up', 1, 0, 1, 1, 1, 1, 0, 0, :revision, 3, 'x86_64', '', '', '', 0)"
                ),
                {"id": f"h-{number}", "revision": number},
            )
        for kind in (3, 4, 5, 6, 8):
            connection.execute(
                text("INSERT INTO host_resources VALUES ('h-7', :kind, 'x', 5, x'00', 0)"), {"kind": kind}
            )
    migrate.upgrade(database.engine)
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT id, value FROM revisions")).all() == [(1, 42)]
        assert connection.execute(text("SELECT value FROM cloud_facts WHERE name = 'epoch'")).scalar_one() != "old"
        assert connection.execute(text("SELECT kind FROM host_resources ORDER BY kind")).scalars().all() == [3, 8]
        hosts = connection.execute(text("SELECT id, pool_address, underlay_address FROM hosts ORDER BY id")).all()
        assert hosts == [("h-41", "", ""), ("h-7", "", "")]
    database.close()
