import pytest
from sqlalchemy import select

from stead_controller.clock import now
from stead_controller.db.migrate import differences, downgrade, upgrade
from stead_controller.db.session import Database
from stead_controller.db.tables import Account
from stead_controller.placement.guest_memory import memory_of
from stead_controller.resources.metrics import alarm_usage
from stead_controller.resources.storage import bucket_sizes
from tests.support.rows import NOW


@pytest.fixture
def database(tmp_path, empty_database_file):
    (tmp_path / "test.sqlite").write_bytes(empty_database_file)
    database = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    yield database
    database.close()


def test_the_migrations_make_what_the_tables_say(database):
    assert differences(database.engine) == []


def test_migrating_again_changes_nothing(database):
    upgrade(database.engine)
    assert differences(database.engine) == []


@pytest.mark.parametrize("writes", [True, False])
async def test_what_is_committed_is_on_the_disk(database, writes):
    """SQLite's own promise after a power cut holds in the WAL only where each commit is synced."""

    def settings(tx):
        connection = tx.session.connection()
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")]

    assert await database.run(settings, writes=writes) == [2, "wal"]  # FULL


def account(number):
    return Account(id=f"{number:012}", name=f"account {number}", created=now())


async def test_a_transaction_that_raises_leaves_nothing(database):
    def fails(tx):
        tx.session.add(account(1))
        tx.session.flush()
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(fails)
    assert await database.run(lambda tx: tx.session.scalars(select(Account.id)).all(), writes=False) == []


async def test_a_dry_run_checks_and_keeps_nothing(database):
    def adds(tx):
        tx.session.add(account(2))
        tx.events.add("i-1")
        return "done"

    woken = []
    database.on_commit(lambda tx: woken.extend(tx.events))
    assert await database.run(adds, dry_run=True) == "done"
    assert await database.run(lambda tx: tx.session.scalars(select(Account.id)).all(), writes=False) == []
    assert woken == []
    await database.run(adds)
    assert woken == ["i-1"]


async def test_times_come_back_as_they_went_in(database):
    made = account(3)
    await database.run(lambda tx: tx.session.add(made))
    created = await database.run(lambda tx: tx.session.scalars(select(Account.created)).one(), writes=False)
    assert created == made.created


def test_an_old_attachment_is_at_home(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("3d895a4f6117"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO hosts (id, hostname, zone, state, schedulable, simulated, cpus, memory, cpus_free, memory_free,"
            " cpus_reserved, memory_reserved, revision, revision_reached, revision_forgotten, pool_address,"
            " underlay_address, architecture, virtualization, virtualization_reason, agent_version, created)"
            " VALUES ('h-1', 'box', 'z', 'up', 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, '', '', 'x86_64', '', '', '', 5)"
        )
        for number, instance in enumerate(("'i-1'", "NULL")):
            connection.exec_driver_sql(
                "INSERT INTO volumes (id, account_id, zone, host_id, size, volume_type, encrypted, state, created,"
                f" instance_id, delete_on_termination) VALUES ('vol-{number}', '1', 'z', 'h-1', 8, 'gp3', 0, 'in-use',"
                f" 5, {instance}, 1)"
            )
    upgrade(database.engine, "b935ba1a9c88")
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT attached_host_id, generation FROM volumes ORDER BY id")
        assert [tuple(row) for row in found] == [("h-1", 1), (None, 0)]
    database.close()


@pytest.fixture(scope="module")
def old_vpc(tmp_path_factory):
    """A database of the first schema with a VPC whose subnets lead to the internet, brought to the newest."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('vpc') / 'old.sqlite'}")
    upgrade(database.engine, "faa718eac69d")
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO vpcs (id, account_id, cidr_block, cidr_association_id, dhcp_options_id, vni, is_default,"
            " dns_support, dns_hostnames, created) VALUES ('vpc-1', '1', '10.0.0.0/16', 'a', 'd', 7, 1, 1, 1, 5)"
        )
        for number in (1, 2):
            connection.exec_driver_sql(
                "INSERT INTO subnets (id, account_id, vpc_id, cidr_block, zone, default_for_zone, map_public_address,"
                f" internet, next_offset, created) VALUES ('subnet-{number}', '1', 'vpc-1', '10.0.{number}.0/24', 'z',"
                " 1, 1, 1, 4, 5)"
            )
    upgrade(database.engine)
    yield database
    database.close()


def test_an_old_vpc_gets_its_default_acl(old_vpc):
    with old_vpc.engine.connect() as connection:
        ((acl_id, vpc_id, default),) = connection.exec_driver_sql("SELECT id, vpc_id, is_default FROM network_acls")
        assert (vpc_id, default) == ("vpc-1", 1)
        links = connection.exec_driver_sql("SELECT acl_id, subnet_id FROM network_acl_associations ORDER BY subnet_id")
        assert links.all() == [(acl_id, "subnet-1"), (acl_id, "subnet-2")]
        entries = connection.exec_driver_sql("SELECT egress, rule_number, allow FROM network_acl_entries ORDER BY 1, 2")
        assert entries.all() == [(0, 100, 1), (0, 32767, 0), (1, 100, 1), (1, 32767, 0)]


def test_old_associations_get_the_account_of_what_they_belong_to(old_vpc):
    with old_vpc.engine.connect() as connection:
        for table, count in (("network_acl_associations", 2), ("route_table_associations", 1), ("vpc_cidr_blocks", 1)):
            accounts = connection.exec_driver_sql(f"SELECT account_id FROM {table}")
            assert accounts.scalars().all() == ["1"] * count


def test_an_old_vpc_gets_its_gateway_route_table_options_and_block(old_vpc):
    with old_vpc.engine.connect() as connection:

        def rows(query):
            return [tuple(row) for row in connection.exec_driver_sql(query)]

        ((gateway_id, vpc_id),) = rows("SELECT id, vpc_id FROM internet_gateways")
        ((table_id,),) = rows("SELECT id FROM route_tables WHERE vpc_id = 'vpc-1' AND account_id = '1'")
        assert gateway_id.startswith("igw-0")
        assert table_id.startswith("rtb-0")
        assert vpc_id == "vpc-1"
        assert rows("SELECT route_table_id, vpc_id, subnet_id FROM route_table_associations") == [
            (table_id, "vpc-1", None)
        ]
        assert rows("SELECT route_table_id, destination, family, target_type, target_id FROM routes") == [
            (table_id, "0.0.0.0/0", "ipv4", "internet-gateway", gateway_id)
        ]
        assert rows("SELECT id, vpc_id, cidr_block, ipv6 FROM vpc_cidr_blocks") == [("a", "vpc-1", "10.0.0.0/16", 0)]
        assert rows("SELECT id, account_id, initial FROM dhcp_options") == [("d", "1", 1)]
        assert rows("SELECT key, value FROM dhcp_option_values ORDER BY position") == [
            ("domain-name", "ec2.internal"),
            ("domain-name-servers", "AmazonProvidedDNS"),
        ]
        assert rows("SELECT count(*) FROM subnets WHERE vpc_id = 'vpc-1' AND hostname_type = 'ip-name'") == [(2,)]
    assert differences(old_vpc.engine) == []


def insert(connection, table, **values):
    """Insert a row of any schema: what must have a value, and is given none, is 0 or empty."""
    for _, name, kind, must, default, _ in connection.exec_driver_sql(f"PRAGMA table_info({table})"):
        if must and default is None:
            values.setdefault(name, "" if "CHAR" in kind or "TEXT" in kind else b"" if "BLOB" in kind else 0)
    names, places = ", ".join(values), ", ".join("?" * len(values))
    connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(values.values()))


def test_what_hangs_on_rows_stays_when_their_table_is_made_anew(tmp_path, file_at):
    """SQLite's foreign keys would delete it with the old table."""
    (tmp_path / "old.sqlite").write_bytes(file_at("5c9e2f81ab47"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        insert(connection, "instances", id="i-1", account_id="1")
        insert(connection, "instance_store_disks", instance_id="i-1")
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    upgrade(database.engine, "7a1c4e90d5b3")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT instance_id FROM instance_store_disks").all() == [("i-1",)]
        assert connection.exec_driver_sql("SELECT auto_recovery FROM instances").all() == [(1,)]
        assert connection.exec_driver_sql("PRAGMA foreign_keys").all() == [(1,)]
    database.close()


def test_a_row_that_would_hang_on_nothing_ends_the_migration(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("5c9e2f81ab47"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        insert(connection, "instance_store_disks", instance_id="i-gone")
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    with pytest.raises(ValueError, match="instance_store_disks would hang on nothing in instances"):
        upgrade(database.engine, "7a1c4e90d5b3")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").all() == [("5c9e2f81ab47",)]
        assert connection.exec_driver_sql("PRAGMA foreign_keys").all() == [(1,)]
    database.close()


def test_old_instances_spend_credits_by_ec2s_defaults(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("5e71c09ad3b8"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    types = {"i-1": "t2.micro", "i-2": "t3.nano", "i-3": "t3a.nano", "i-4": "m5.large"}
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for instance_id, name in types.items():
            insert(connection, "instances", id=instance_id, account_id="1", instance_type=name, vcpus=2)
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    upgrade(database.engine, "77092c835cf9")
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT id, cpu_credits, launch_credits FROM instances ORDER BY id").all()
    assert found == [("i-1", "standard", 60), ("i-2", "unlimited", 0), ("i-3", "unlimited", 0), ("i-4", "standard", 0)]
    database.close()


def test_public_addresses_are_billed_as_they_are(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("5b1e8c40d7a2"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        insert(connection, "instances", id="i-1", account_id="1", launch_time=9_999)
        insert(connection, "vpcs", id="vpc-1", account_id="1")
        insert(connection, "subnets", id="subnet-1", account_id="1", vpc_id="vpc-1")
        place = {"account_id": "1", "vpc_id": "vpc-1", "subnet_id": "subnet-1"}
        insert(connection, "network_interfaces", **place, id="eni-1", instance_id="i-1", mac_address="a")
        insert(connection, "network_interfaces", **place, id="eni-2", mac_address="b")
        for number in (1, 2):
            insert(
                connection,
                "elastic_addresses",
                id=f"eipalloc-{number}",
                account_id="1",
                address=f"a{number}",
                created=number * 1000,
            )
        insert(connection, "public_addresses", address="a1", account_id="1", allocation_id="eipalloc-1")
        held = {"allocation_id": "eipalloc-2", "interface_id": "eni-2", "private_address": "b"}
        insert(connection, "public_addresses", address="a2", account_id="1", **held)
        insert(connection, "public_addresses", address="a3", account_id="1", interface_id="eni-1", private_address="a")
        insert(connection, "public_addresses", address="a4", account_id="1", released=5)
        insert(connection, "public_addresses", address="a5", account_id="")
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    upgrade(database.engine, "e40b96d2713c")
    query = (
        "SELECT resource_id, usage, account_id, operation, zone, quantity, least, began FROM usage_meters ORDER BY 1"
    )
    with database.engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    assert found == [
        ("eipalloc-1", "PublicIPv4:IdleAddress", "1", "AllocateAddressVPC", "", 1, 0, 1),
        ("eipalloc-2", "PublicIPv4:InUseAddress", "1", "AllocateAddressVPC", "", 1, 0, 2),
        ("eni-1", "PublicIPv4:InUseAddress", "1", "RunInstances", "", 1, 0, 9),
    ]
    downgrade(database.engine, "5b1e8c40d7a2")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql(query).all() == []
    database.close()


def test_snapshots_are_billed_by_what_their_parents_do_not_have(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("e40b96d2713c"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    blocks = [bytes([number]) * 32 for number in range(4)]
    made = {"account_id": "1", "state": "completed", "completed": 9_999, "stored_size": 3 << 19}
    with database.engine.begin() as connection:
        for digest, slots, held in [
            (b"a", (0, 1), blocks[:2]),
            (b"b", (0, 1, 5), [blocks[0], *blocks[2:]]),
            (b"c", (0,), blocks[:1]),
        ]:
            packed = b"".join(slot.to_bytes(2, "big") for slot in slots)
            insert(connection, "segments", digest=digest, slots=packed, digests=b"".join(held))
        for name, changes in {
            "snap-1": {},
            "snap-2": {"parent_id": "snap-1"},
            "snap-3": {"parent_id": "snap-2", "account_id": "2"},
            "snap-4": {"state": "deleting"},
            "snap-5": {"parent_id": "snap-4"},
            "snap-6": {"state": "pending", "completed": None, "parent_id": "snap-1"},
            "snap-7": {"account_id": "000000000000"},
            "snap-8": {"parent_id": "snap-1"},
        }.items():
            insert(connection, "snapshots", id=name, **made | changes)
        for name, position, digest in [
            ("snap-1", 0, b"a"), ("snap-1", 1, b"c"), ("snap-2", 0, b"b"), ("snap-2", 1, b"c"), ("snap-2", 2, b"c"),
            ("snap-8", 0, b"a"),
        ]:  # fmt: skip
            insert(connection, "snapshot_segments", snapshot_id=name, position=position, segment_digest=digest)
    upgrade(database.engine, "7a2fd15c9e06")
    query = "SELECT resource_id, usage, account_id, quantity, least, began FROM usage_meters ORDER BY 1"
    with database.engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
        after = [tuple(row) for row in connection.exec_driver_sql("SELECT counted_after FROM snapshots ORDER BY id")]
    assert found == [
        ("snap-1", "EBS:SnapshotUsage", "1", 3, 0, 9),
        ("snap-2", "EBS:SnapshotUsage", "1", 3, 0, 9),
        ("snap-3", "EBS:SnapshotUsage", "2", 3, 0, 9),
        ("snap-5", "EBS:SnapshotUsage", "1", 3, 0, 9),
    ]
    assert [one for (one,) in after] == [None, "snap-1", None, None, None, None, None, "snap-1"]
    downgrade(database.engine, "e40b96d2713c")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql(query).all() == []
    database.close()


def test_dedicated_hosts_and_unused_slots_are_billed_from_the_upgrade_on(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("a94f03c7e15d"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    before = int(now().timestamp())
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for name in ("x", "y"):
            insert(connection, "hosts", id=name)
        for name, state in (("h-1", "allocated"), ("h-2", "released")):
            insert(connection, "dedicated_hosts", id=name, account_id="1", zone="a", instance_family="m5", state=state)
        for name, state in (("cr-1", "active"), ("cr-2", "active"), ("cr-3", "active"), ("cr-4", "cancelled")):
            kept = {"account_id": "2", "zone": "b", "instance_type": "t3.micro", "state": state}
            insert(connection, "capacity_reservations", id=name, **kept)
        slots = [
            ("cr-1", "x", 3, 1),
            ("cr-1", "y", 1, 1),
            ("cr-2", "x", 1, 0),
            ("cr-3", "x", 2, 2),
            ("cr-4", "x", 1, 0),
        ]
        for reservation_id, host_id, count, used in slots:
            insert(
                connection,
                "capacity_reservation_slots",
                reservation_id=reservation_id,
                host_id=host_id,
                slots=count,
                used=used,
            )
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    upgrade(database.engine, "d3f8a16c42b7")
    query = "SELECT resource_id, usage, account_id, operation, zone, quantity, least FROM usage_meters ORDER BY 1"
    with database.engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
        (began,) = {row[0] for row in connection.exec_driver_sql("SELECT began FROM usage_meters")}
    assert found == [
        ("cr-1", "UnusedBox:t3.micro", "2", "RunInstances", "b", 2, 0),
        ("cr-2", "UnusedBox:t3.micro", "2", "RunInstances", "b", 1, 0),
        ("h-1", "HostUsage:m5", "1", "RunInstances", "a", 1, 0),
    ]
    assert before <= began <= now().timestamp()
    with database.engine.begin() as connection:
        insert(connection, "usage_lines", number=1, usage="BoxUsage:t3.micro", account_id="1")
        insert(connection, "usage_lines", number=2, usage="HostUsage:m5", account_id="1")
    downgrade(database.engine, "a94f03c7e15d")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql(query).all() == []
        assert connection.exec_driver_sql("SELECT number FROM usage_lines").all() == [(1,)]
    database.close()


def test_an_older_release_knows_nothing_of_amounts(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("f27b90d4e815"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with database.engine.begin() as connection:
        insert(connection, "usage_amounts", resource_id="i-1", usage="CPUCredits:t3", account_id="1")
        for usage in ("CPUCredits:t3", "BoxUsage:t3.micro"):
            insert(connection, "usage_days", account_id="1", day=1, usage=usage)
    downgrade(database.engine, "d3f8a16c42b7")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT usage FROM usage_days").all() == [("BoxUsage:t3.micro",)]
    database.close()


def test_exports_of_costs_are_unknown_to_an_older_release(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("c81e5a7f20d3"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with database.engine.begin() as connection:
        insert(connection, "data_exports", id="one", account_id="1", name="costs", definition="{}", tags="{}")
        insert(
            connection, "data_export_executions", id="two", export_id="one", definition="{}", status="DELIVERY_SUCCESS"
        )
    downgrade(database.engine, "c6e81d2f3b97")
    with database.engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name LIKE '%data_export%'").all()
        assert names == []
    database.close()


def test_alarms_are_billed_since_they_were_changed_last(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("c81e5a7f20d3"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    one, close = '{"measure": {"period": 60}, "queries": []}', '{"measure": {"period": 10}, "queries": []}'
    several = '{"measure": null, "queries": [{"measure": {"period": 300}}, {"measure": null, "period": null}]}'
    kept = {"configured": 9_999, "state": "OK"}
    with database.engine.begin() as connection:
        for name, definition, metrics in (("one", one, 1), ("close", close, 1), ("several", several, 2)):
            insert(connection, "alarms", account_id="1", name=name, definition=definition, **kept)
            for number in range(metrics):
                insert(connection, "alarm_metrics", account_id="1", alarm=name, digest=f"{number}")
        insert(connection, "alarms", account_id="1", name="rule", rule="ALARM(one)", **kept)
    upgrade(database.engine, "0c6e5b7fa293")
    query = "SELECT resource_id, usage, account_id, quantity, least, began FROM usage_meters"
    with database.engine.connect() as connection:
        found = {tuple(row) for row in connection.exec_driver_sql(query)}
    assert found == {
        (alarm_usage.id_of("1", "one"), "CW:AlarmMonitorUsage", "1", 1, 0, 9),
        (alarm_usage.id_of("1", "close"), "CW:HighResAlarmMonitorUsage", "1", 1, 0, 9),
        (alarm_usage.id_of("1", "several"), "CW:AlarmMonitorUsage", "1", 2, 0, 9),
        (alarm_usage.id_of("1", "rule"), "CW:CompositeAlarmMonitorUsage", "1", 1, 0, 9),
    }
    downgrade(database.engine, "c81e5a7f20d3")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql(query).all() == []
    database.close()


def test_requests_are_unknown_to_an_older_release(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("5d8e2c90b7a4"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    kept = {"resource_id": "b", "operation": "PutObject", "account_id": "1", "zone": "", "amount": 3}
    with database.engine.begin() as connection:
        insert(connection, "usage_files", digest="0", reached=7)
        for usage in ("Requests-Tier1", "NatGateway-Bytes"):
            insert(connection, "usage_amounts", usage=usage, hour=1, began=3600, **kept)
    downgrade(database.engine, "0c6e5b7fa293")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT usage FROM usage_amounts").all() == [("NatGateway-Bytes",)]
    upgrade(database.engine)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM usage_files").scalar() == 0
    assert differences(database.engine) == []
    database.close()


def test_an_older_release_takes_no_archived_snapshot(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("c2f70d5e918b"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    upgrade(database.engine)
    kept = {"resource_id": "snap-1", "operation": "", "account_id": "1", "zone": "", "amount": 3}
    tier = {"operation": "archival", "status": "completed", "detail": "", "started": 9, "progress": 100}
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        snapshot = {
            "account_id": "1",
            "volume_id": "v",
            "volume_size": 1,
            "size": 1,
            "state": "completed",
            "started": 9,
        }
        said = {"state_message": "", "description": "", "progress": 100, "encrypted": 0, "stored_size": 0, "public": 0}
        insert(connection, "snapshots", id="snap-1", public_blocked=0, storage_tier="archive", **snapshot, **said)
        insert(connection, "snapshot_tiers", snapshot_id="snap-1", operation_id="o", archived=9, **tier)
        for digest, count in ((b"a", 1), (b"b", 2)):
            insert(connection, "segments", digest=digest, slots=b"", digests=b"", reference_count=count)
        insert(connection, "archived_pieces", snapshot_id="snap-1", position=0, segment_digest=b"a", blocks=1)
        for usage in ("EBS:SnapshotArchiveRetrieval", "EBS:SnapshotUsage"):
            insert(connection, "usage_amounts", usage=usage, hour=1, began=3600, **kept)
    with pytest.raises(RuntimeError, match="1 snapshots are archived"):
        downgrade(database.engine, "c2f70d5e918b")
    with database.engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM archived_pieces").scalar() == 1
        connection.exec_driver_sql("UPDATE snapshots SET storage_tier = 'standard'")
    downgrade(database.engine, "c2f70d5e918b")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id FROM snapshots").all() == [("snap-1",)]
        counts = connection.exec_driver_sql("SELECT reference_count FROM segments ORDER BY digest").all()
        assert counts == [(0,), (2,)], "the archive is collected"
        assert connection.exec_driver_sql("SELECT usage FROM usage_amounts").all() == [("EBS:SnapshotUsage",)]
    upgrade(database.engine)
    assert differences(database.engine) == []
    database.close()


def test_buckets_that_are_there_are_counted_after_an_upgrade(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("5d8e2c90b7a4"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    kept = {"resource_id": "b", "operation": "", "account_id": "1", "zone": "", "amount": 3}
    with database.engine.begin() as connection:
        insert(connection, "buckets", name="b", account_id="1", backend_name="b-1", state="available", created=9)
    upgrade(database.engine)
    assert database.run_blocking(lambda tx: bucket_sizes.to_count(tx, (), NOW)) == [bucket_sizes.ToCount("b-1", 1)]
    assert not database.run_blocking(lambda tx: bucket_sizes.has_to_bill(tx, NOW))
    with database.engine.begin() as connection:
        for usage in ("TimedStorage-ByteHrs", "NatGateway-Bytes"):
            insert(connection, "usage_amounts", usage=usage, hour=1, began=3600, **kept)
    downgrade(database.engine, "5d8e2c90b7a4")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT usage FROM usage_amounts").all() == [("NatGateway-Bytes",)]
    database.close()


def test_detailed_monitoring_is_billed_from_an_upgrade_on(tmp_path, file_at):
    (tmp_path / "old.sqlite").write_bytes(file_at("8b41d7c60e25"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    box = {"usage": "BoxUsage:t3.micro", "operation": "RunInstances", "account_id": "1", "zone": "a", "quantity": 1}
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for number in range(3):
            insert(connection, "instances", id=f"i-{number}", account_id="1", monitoring=number > 0)
        for number in range(2):
            insert(connection, "usage_meters", resource_id=f"i-{number}", **box)
    upgrade(database.engine)
    query = "SELECT resource_id, operation, account_id, zone, quantity, least, began > 1700000000 FROM usage_meters "
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql(query + "WHERE usage LIKE 'CW:%'").all()
        assert [tuple(row) for row in found] == [("i-1", "MetricStorage:AWS/EC2", "1", "a", 7, 0, 1)]
    kept = {"resource_id": "b", "operation": "", "account_id": "1", "zone": "", "amount": 3}
    with database.engine.begin() as connection:
        for usage in ("EBS:directAPI.snapshot.Get", "CW:Requests", "NatGateway-Bytes"):
            insert(connection, "usage_amounts", usage=usage, hour=1, began=3600, **kept)
    downgrade(database.engine, "8b41d7c60e25")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT usage FROM usage_amounts").all() == [("NatGateway-Bytes",)]
        assert connection.exec_driver_sql("SELECT DISTINCT usage FROM usage_meters").all() == [("BoxUsage:t3.micro",)]
    database.close()


def test_hosts_have_reserved_what_their_guests_take(tmp_path, file_at):
    """By the figures of `memory_of`, by which it is given back: other ones need another migration."""
    (tmp_path / "old.sqlite").write_bytes(file_at("5b1c7e90a4d2"))
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    gib = 1 << 30
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        insert(connection, "hosts", id="h-1", cpus_reserved=3, memory_reserved=7 * gib)
        insert(connection, "hosts", id="h-2", memory_reserved=5)
        held = {"account_id": "1", "host_id": "h-1", "capacity_held": True, "memory": gib}
        insert(connection, "instances", **held, id="i-1", vcpus=1, boot_mode="legacy-bios")
        insert(connection, "instances", **held, id="i-2", vcpus=2, boot_mode="uefi-preferred")
        insert(connection, "instances", **held, id="i-3", vcpus=1, boot_mode="uefi", sealed_tpm_key=b"k")
        insert(connection, "instances", **held | {"capacity_held": False}, id="i-4", vcpus=8)
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    upgrade(database.engine, "8d2f6a3b91c5")
    taken = memory_of(gib, 1) + memory_of(gib, 2, uefi=True) + memory_of(gib, 1, uefi=True, tpm=True)
    assert reserved(database) == [4 * gib + taken, 5]
    downgrade(database.engine, "5b1c7e90a4d2")
    assert reserved(database) == [7 * gib, 5]
    database.close()


def reserved(database):
    with database.engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT memory_reserved FROM hosts ORDER BY id").scalars())
