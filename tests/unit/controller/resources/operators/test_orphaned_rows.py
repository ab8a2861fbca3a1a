"""Rows that name what is not there are found, and mended in one transaction; all others stay as they are."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import AccessKey, HostResource, IamMfaDevice, PublicAddress, Tag, UsageMeter, Volume
from stead_controller.resources.operators import orphaned_rows
from stead_proto.v1 import desired_pb2 as desired
from tests.support import orphans
from tests.support.rows import NOW
from tests.unit.controller.db.rows import rows_of


@pytest.fixture
def names(run, world):
    return run(orphans.plant, world)


def _rows(database):
    with database.engine.connect() as connection:
        return rows_of(connection)


def test_each_kind_is_found_once_and_looking_changes_nothing(run, database, names):
    before = _rows(database)
    found = run(orphaned_rows.find)
    assert [each.kind for each in found] == list(orphans.KINDS)
    assert {each.kind: each.names for each in found} == names
    assert _rows(database) == before


def test_they_are_mended_and_nothing_else_changes(run, database, names, world):
    found, before = run(orphaned_rows.find), _rows(database)
    assert run(orphaned_rows.mend, NOW) == found
    assert run(orphaned_rows.find) == []
    after = _rows(database)
    changed = {table: len(before[table]) - len(after[table]) for table in before if before[table] != after[table]}
    deleted = {"tags": 1, "iam_tags": 1, "iam_inline_policies": 1, "iam_attached_policies": 1, "access_keys": 1}
    outbox = {"host_resources", "vpc_resources", "vpc_hosts", "revision", "revisions", "hosts"}
    mended = {"iam_mfa_devices", "volumes", "network_interfaces", "public_addresses"}
    assert {table: number for table, number in changed.items() if table in deleted} == deleted
    assert {table for table in changed if table not in deleted} - outbox == mended
    assert all(changed[table] == 0 for table in mended)


def test_what_they_are_afterwards(run, names, world):
    done = {each.kind: each for each in run(orphaned_rows.mend, NOW)}

    def look(tx):
        volume = tx.session.get_one(Volume, done["volume"].id)
        assert (volume.state, volume.instance_id, volume.attachment_state) == ("available", None, None)
        key = (world.host_id, desired.KIND_VOLUME, volume.id)
        assert tx.session.get_one(HostResource, key).body is not None, "its disk stays"
        assert tx.session.get(UsageMeter, (volume.id, "EBS:VolumeUsage.gp3")) is not None, "and is billed"
        device = tx.session.get_one(IamMfaDevice, done["MFA device"].id)
        assert (device.user_id, device.enabled) == (None, None)
        address = tx.session.get_one(PublicAddress, done["public address"].id)
        assert (address.allocation_id, address.released) == (None, NOW)
        account_id = world.one.caller.account_id
        assert tx.session.get(AccessKey, f"AKIA{account_id}") is not None, "a root key names its account"
        assert tx.session.get_one(IamMfaDevice, f"device-{account_id}").user_id == account_id
        assert tx.session.scalars(select(Tag.resource_id).where(Tag.resource_id == "x-1")).all() == ["x-1"]

    run(look)
    assert done["volume"].done == done["network interface"].done == "available now"
    assert done["tag"].id.startswith(f"{orphans.GONE} k ")


def test_so_many_of_each_kind_are_mended_at_once(run, names, world, monkeypatch):
    def more(tx):
        for number in range(3):
            account_id = world.one.caller.account_id
            tag = Tag(
                resource_id=orphans.GONE, resource_type="instance", key=f"n{number}", value="", account_id=account_id
            )
            tx.session.add(tag)

    run(more)
    monkeypatch.setattr(orphaned_rows, "MOST", 3)
    assert [each.kind for each in run(orphaned_rows.mend, NOW)].count("tag") == 3
    assert [each.kind for each in run(orphaned_rows.mend, NOW)] == ["tag"]


def test_a_fault_undoes_all_of_it(run, database, names, monkeypatch):
    def fail(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(orphaned_rows.network_interface_attachments, "settle_detached", fail)
    before = _rows(database)
    with pytest.raises(RuntimeError, match="in the middle"):
        run(orphaned_rows.mend, NOW)
    assert _rows(database) == before
