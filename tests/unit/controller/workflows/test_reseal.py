"""A change of the master key reaches every sealed row, cut off wherever it may be, and forgets the old key in the end."""

from datetime import timedelta

import pytest
from sqlalchemy import LargeBinary, select

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    AccessKey,
    Base,
    HostResource,
    IamMfaDevice,
    ImageTask,
    Instance,
    ObjectKey,
    Snapshot,
    Volume,
)
from stead_controller.desired import revisions
from stead_controller.desired.messages import keys
from stead_controller.resources.iam import access_keys, mfa_devices
from stead_controller.resources.operators import sealed_rows
from stead_controller.resources.storage import object_keys, volume_keys
from stead_controller.secrets.master_key import RETENTION, KeyFile, MasterKey
from stead_controller.secrets.sealing import version_of
from stead_controller.workflows.reseal import Resealing
from stead_proto.v1 import desired_pb2 as pb
from tests.support import rows
from tests.support.rows import NOW

COUNT = 7
KINDS = (pb.KIND_VOLUME, pb.KIND_BASE)


class Killed(Exception):
    """The controller is gone."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "master.key"


@pytest.fixture
def master_key(path):
    return MasterKey(KeyFile(path))


def with_network(instance, revision, resource_id, body):
    return HostResource(
        host_id=instance.host_id,
        kind=pb.KIND_BASE if body.HasField("base") else pb.KIND_VOLUME,
        resource_id=resource_id,
        revision=revision,
        body=body.SerializeToString(deterministic=True),
    )


def device(device_id, account_id, sealed):
    return IamMfaDevice(
        id=device_id,
        account_id=account_id,
        name=device_id,
        name_lower=device_id.lower(),
        path="/",
        created=NOW,
        seed_sealed=sealed,
    )


@pytest.fixture
def secrets_of(database, world, master_key, monkeypatch):
    """Rows with sealed secrets in all places; gives a function that opens them all with a sealer."""
    monkeypatch.setattr(sealed_rows, "_PAGE", 3)
    sealer = master_key.sealer

    def add(tx):
        for number in range(COUNT):
            key_id, secret = f"AKIA{number:016}", f"secret {number}".encode()
            account_id = world.one.caller.account_id
            sealed = sealer.seal(secret, access_keys.context(key_id))
            tx.session.add(
                AccessKey(
                    id=key_id, account_id=account_id, user_id=account_id, arn="a", secret_sealed=sealed, created=NOW
                )
            )
            tx.session.add(
                device(f"AMFA{number}", account_id, sealer.seal(secret, mfa_devices.context(f"AMFA{number}")))
            )
            name = f"key{number}"
            tx.session.add(ObjectKey(name=name, sealed=sealer.seal(secret, object_keys.context(name))))
            instance = rows.launch(tx, world, world.one, number=number)
            volume = tx.session.scalars(select(Volume).where(Volume.instance_id == instance.id)).one()
            volume.sealed_key = sealer.seal(secret, volume_keys.CONTEXT)
            bodies = {
                volume.id: pb.Resource(volume=pb.Volume(encryption_key=volume.sealed_key)),
                ids.new_id("snapshot"): pb.Resource(base=pb.Base(encrypted=True, encryption_key=volume.sealed_key)),
                ids.new_id("volume"): pb.Resource(volume=pb.Volume(size=1)),
            }
            tx.session.add_all(with_network(instance, number, *each) for each in bodies.items())

    database.run_blocking(add)

    def look(opening):
        def read(tx):
            found = [
                (key.secret_sealed, access_keys.context(key.id))
                for key in tx.session.scalars(select(AccessKey).where(AccessKey.id.startswith("AKIA0")))
            ]
            found += [
                (volume.sealed_key, volume_keys.CONTEXT)
                for volume in tx.session.scalars(select(Volume).where(Volume.sealed_key.is_not(None)))
            ]
            found += [
                (device.seed_sealed, mfa_devices.context(device.id))
                for device in tx.session.scalars(select(IamMfaDevice))
            ]
            found += [(key.sealed, object_keys.context(key.name)) for key in tx.session.scalars(select(ObjectKey))]
            progress = []
            for row in tx.session.scalars(select(HostResource).where(HostResource.body.is_not(None))):
                keys.opened(row.kind, row.body, lambda key: progress.append((key, volume_keys.CONTEXT)) or b"")
            found += progress
            return [(opening.open(sealed, context), version_of(sealed)) for sealed, context in found]

        return database.run_blocking(read)

    return look


def everything(version):
    return sorted([(f"secret {number}".encode(), version) for number in range(COUNT)] * 6)


async def test_everything_is_sealed_anew(database, master_key, secrets_of):
    assert sorted(secrets_of(master_key.sealer)) == everything(1)
    progress = []
    resealing = Resealing(database, master_key, lambda: NOW)
    assert await resealing.rotate(lambda rows, changed: progress.append((rows, changed))) == 2
    assert sorted(secrets_of(master_key.sealer)) == everything(2)
    assert progress[-1] == (7 * COUNT, 6 * COUNT)
    assert await resealing.run_pass() == 0


async def test_hosts_get_anew_what_they_may_give_back(database, master_key, secrets_of):
    """Volumes' sealed keys, which a later controller opens: not those of bases, which no host gives back."""

    def sent(tx):
        rows = select(HostResource.kind, HostResource.body, HostResource.revision)
        return {kind: [one for one in tx.session.execute(rows) if one.kind == kind and has_key(one)] for kind in KINDS}

    def has_key(row):
        resource = pb.Resource.FromString(row.body)
        return bool(resource.volume.encryption_key or resource.base.encryption_key)

    before = database.run_blocking(sent)
    last = database.run_blocking(revisions.current)
    await Resealing(database, master_key, lambda: NOW).rotate(lambda _rows, _changed: None)
    after = database.run_blocking(sent)
    assert len(after[pb.KIND_VOLUME]) == COUNT
    assert all(row.revision > last for row in after[pb.KIND_VOLUME])
    assert {row.body for row in after[pb.KIND_VOLUME]}.isdisjoint(row.body for row in before[pb.KIND_VOLUME])
    assert [row.revision for row in after[pb.KIND_BASE]] == [row.revision for row in before[pb.KIND_BASE]]
    await Resealing(database, master_key, lambda: NOW).run_pass()
    assert database.run_blocking(sent) == after


async def test_a_kill_at_each_transaction_loses_nothing(database, path, secrets_of, monkeypatch):
    run = database.run
    for limit in range(1, 40):
        master_key = MasterKey(KeyFile(path))
        done = []

        async def run_some(function, limit=limit, done=done, **options):
            if len(done) >= limit:
                raise Killed
            done.append(1)
            return await run(function, **options)

        with monkeypatch.context() as patched:
            patched.setattr(database, "run", run_some)
            try:
                await Resealing(database, master_key, lambda: NOW).rotate(lambda _rows, _changed: None)
                finished = True
            except Killed:
                finished = False
        again = MasterKey(KeyFile(path))
        assert sorted(secret for secret, _ in secrets_of(again.sealer)) == [one for one, _ in everything(0)]
        await Resealing(database, again, lambda: NOW).clean_up()
        assert sorted(secrets_of(again.sealer)) == everything(limit + 1)
        if finished:
            return
    pytest.fail("a change of the key never ends")


async def test_the_old_key_is_forgotten_after_all_tokens_have_ended(database, master_key, secrets_of):
    now = [NOW]
    resealing = Resealing(database, master_key, lambda: now[0])
    token = master_key.sealer.seal(b"session", "session-token:ASIA")
    await resealing.rotate(lambda _rows, _changed: None)
    now[0] += RETENTION - timedelta(seconds=1)
    await resealing.clean_up()
    assert master_key.sealer.open(token, "session-token:ASIA") == b"session"
    now[0] += timedelta(seconds=1)
    await resealing.clean_up()
    assert master_key.sealer.versions == (2,)
    assert sorted(secrets_of(master_key.sealer)) == everything(2)


async def test_a_row_that_was_late_is_sealed_anew_before_its_key_goes(database, master_key, secrets_of):
    now = [NOW]
    resealing = Resealing(database, master_key, lambda: now[0])
    late = master_key.sealer.seal(b"secret 0", volume_keys.CONTEXT)
    await resealing.rotate(lambda _rows, _changed: None)

    def sneak(tx):
        for volume in tx.session.scalars(select(Volume).where(Volume.sealed_key.is_not(None))):
            if master_key.sealer.open(volume.sealed_key, volume_keys.CONTEXT) == b"secret 0":
                volume.sealed_key = late

    database.run_blocking(sneak)
    now[0] += RETENTION
    await resealing.clean_up()
    assert master_key.sealer.versions == (1, 2)
    assert sorted(secrets_of(master_key.sealer)) == everything(2)
    await resealing.clean_up()
    assert master_key.sealer.versions == (2,)


def test_no_sealed_column_is_forgotten():
    known = {column.column.property.columns[0] for column in sealed_rows.COLUMNS}
    sealed = {
        column
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and "sealed" in column.name
    }
    assert sealed == known
    assert {AccessKey, IamMfaDevice, ImageTask, Instance, ObjectKey, Volume, Snapshot} == {
        column.column.class_ for column in sealed_rows.COLUMNS
    }
