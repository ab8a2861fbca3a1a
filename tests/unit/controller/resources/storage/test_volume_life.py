"""Volumes are made and deleted: what is refused, what is written, when their room and their disks go."""

from dataclasses import replace
from datetime import timedelta

import pytest

from stead_controller.catalog.volume_types import Shape
from stead_controller.db.tables import Host, HostResource, Snapshot, StoragePool, Tag, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    MissingParameter,
    NoCapacity,
    NotFound,
    Unsupported,
    WrongState,
)
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.storage import ebs_encryption, snapshot_life, volume_life
from stead_controller.resources.storage.volume_life import CreateRequest
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import CLOUD, GIB, NOW

ZONE = "us-east-1a"
ONCE = Repeatable("CreateVolume", "", "")


@pytest.fixture
def create(run, world):
    """Make a volume, of 8 GiB in the host's zone where nothing else is said, and give its id."""

    def make(*, caller=world.one.caller, cloud=CLOUD, now=NOW, **changes):
        request = CreateRequest(**{"repeatable": ONCE, "zone": ZONE, "size": 8} | changes)
        return run(volume_life.create, caller, cloud, request, now)

    return make


@pytest.fixture
def find(run):
    """Look at a volume's row, or None."""
    return lambda volume_id: run(lambda tx: tx.session.get(Volume, volume_id))


@pytest.fixture
def add_snapshot(run, world):
    """Add a snapshot, complete and of 8 GiB where nothing else is said, and give its id."""

    def insert(**changes):
        row = rows.snapshot(**{"account_id": world.one.caller.account_id} | changes)
        run(lambda tx: tx.session.add(row))
        return row.id

    return insert


@pytest.fixture
def pool(run, world):
    """The host's pool, of 10 GiB; gives a function for what volumes take of it, in GiB."""
    found = {"host_id": world.host_id, "name": "main", "backend": "directory", "is_default": True}
    run(lambda tx: tx.session.add(StoragePool(total=10 * GIB, free=0, provisioned=8 * GIB, **found)))
    return lambda: run(lambda tx: tx.session.get_one(StoragePool, (world.host_id, "main")).provisioned) // GIB


@pytest.fixture
def at_home(run, world, create):
    """A volume that is on the host, attached to nothing; give it changes of its row."""

    def make(**changes):
        volume_id = create()

        def settle(tx):
            row = tx.session.get_one(Volume, volume_id)
            for name, value in {"host_id": world.host_id, "pool": "main", **changes}.items():
                setattr(row, name, value)
            desired_state.refresh_volume(tx, row)

        run(settle)
        return volume_id

    return make


@pytest.fixture
def sent(run, world):
    """Whether the host is to have something, or (False) to have it no more; None where it never was."""

    def look(resource_id, kind=desired.KIND_VOLUME):
        row = run(lambda tx: tx.session.get(HostResource, (world.host_id, int(kind), resource_id)))
        return row and row.body is not None

    return look


def test_a_new_volume_is_free_and_has_no_home(create, find, world):
    row = find(create(volume_type="gp3", iops=3500, throughput=200))
    assert (row.account_id, row.zone, row.size) == (world.one.caller.account_id, ZONE, 8)
    assert (row.volume_type, row.iops, row.throughput) == ("gp3", 3500, 200)
    assert (row.state, row.created, row.host_id, row.snapshot_id) == ("available", NOW, None, None)
    assert (row.encrypted, row.sealed_key, row.kms_key_id) == (False, None, None)


def test_it_is_made_once_with_its_tags(create, find, run, world):
    asked = {
        "repeatable": Repeatable("CreateVolume", "token", "digest"),
        "tags": {"volume": {"a": "b"}},
    }
    volume_id = create(**asked)
    assert create(**asked, now=NOW + timedelta(hours=1)) == volume_id
    tags = run(lambda tx: [(each.resource_id, each.key, each.value) for each in tx.session.query(Tag)])
    assert tags == [(volume_id, "a", "b")]


@pytest.mark.parametrize(
    ("asked", "zone"),
    [
        ({"zone": "us-east-1b"}, "us-east-1b"),
        ({"zone_id": "use1-az1"}, "us-east-1a"),
        ({"zone_id": "use1-az2"}, "us-east-1b"),
    ],
)
def test_its_zone_is_named_or_its_id_is(run, create, find, asked, zone):
    run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    assert find(create(**{"zone": None} | asked)).zone == zone


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"zone": ZONE, "zone_id": "use1-az1"}, InvalidCombination),
        ({"zone": None}, MissingParameter),
        ({"zone": "us-east-1z"}, NotFound),
        ({"zone": "use1-az1"}, NotFound),
        ({"zone": ""}, NotFound),
        ({"zone": None, "zone_id": ZONE}, NotFound),
        ({"zone": None, "zone_id": "use1-az9"}, NotFound),
        ({"zone": "us-east-1b"}, NoCapacity),
        ({"size": None}, MissingParameter),
        ({"size": 0}, InvalidParameter),
        ({"snapshot_id": "snap-00000000000000000"}, NotFound),
        ({"kms_key_id": "alias/x"}, InvalidParameter),
        ({"encrypted": True, "kms_key_id": "?"}, InvalidParameter),
    ],
)
def test_bad_requests_create_nothing(create, unchanged, asked, error):
    unchanged()
    with pytest.raises(error):
        create(**asked)
    unchanged()


@pytest.mark.parametrize(
    ("volume_type", "error"),
    [("gp3", InvalidCombination), ("io1", Unsupported), ("io2", Unsupported), ("st1", InvalidCombination)],
)
def test_a_volume_is_attached_to_one_instance(create, volume_type, error):
    with pytest.raises(error):
        create(volume_type=volume_type, size=200, iops=200, multi_attach=True)


def test_it_is_as_large_as_its_snapshot_or_larger(create, find, add_snapshot):
    snapshot_id = add_snapshot()
    for size, wanted in ((None, 8), (8, 8), (9, 9)):
        row = find(create(snapshot_id=snapshot_id, size=size))
        assert (row.size, row.snapshot_id) == (wanted, snapshot_id)
    with pytest.raises(InvalidParameter, match="smaller than snapshot"):
        create(snapshot_id=snapshot_id, size=7)


def test_an_operation_has_its_own_code_for_a_size_that_is_too_small(world):
    with pytest.raises(InvalidParameter) as refusal:
        volume_life.size_of(1, rows.snapshot(world.one.caller.account_id), code="Own")
    assert refusal.value.code == "Own"


def test_of_a_snapshot_that_is_not_complete_nothing_is_made(create, add_snapshot):
    snapshot_id = add_snapshot(state="pending", progress=1)
    with pytest.raises(WrongState):
        create(snapshot_id=snapshot_id)


@pytest.mark.parametrize(("overcommit", "size"), [(1.0, 2), (2.0, 12)])
def test_a_zone_has_to_have_room_for_it(create, pool, overcommit, size):
    cloud = replace(CLOUD, volume_overcommit=overcommit)
    create(cloud=cloud, size=size)
    assert pool() == 8, "room is taken with its home"
    with pytest.raises(NoCapacity) as refusal:
        create(cloud=cloud, size=size + 1)
    assert refusal.value.code == "InsufficientVolumeCapacity"


def test_an_encrypted_volume_has_a_key_its_snapshots_where_it_is_under_the_same(create, find, run, world):
    first = find(create(encrypted=True))
    assert first.encrypted
    assert first.sealed_key
    assert first.kms_key_id.startswith("arn:aws:kms:")
    key = {"encrypted": True, "kms_key_id": first.kms_key_id, "sealed_key": b"sealed"}
    snapshot = rows.snapshot(world.one.caller.account_id, **key)
    run(lambda tx: tx.session.add(snapshot))
    assert find(create(snapshot_id=snapshot.id)).sealed_key == b"sealed"
    other = find(create(snapshot_id=snapshot.id, kms_key_id="alias/other"))
    assert other.sealed_key != b"sealed"
    run(ebs_encryption.set_by_default, world.one.caller, on=True)
    assert find(create()).encrypted


def delete(run, world, volume_id):
    run(volume_life.delete, world.one.caller, volume_id, NOW)


def test_what_is_attached_is_not_deleted(run, world, unchanged):
    def launch(tx):
        instance = rows.launch(tx, world, world.one)
        return tx.session.query(Volume).filter_by(instance_id=instance.id).one().id

    volume_id = run(launch)
    unchanged()
    with pytest.raises(WrongState) as refusal:
        delete(run, world, volume_id)
    assert refusal.value.code == "VolumeInUse"
    with pytest.raises(NotFound):
        run(volume_life.delete, world.other.caller, volume_id, NOW)
    unchanged()


def test_a_volume_without_a_home_is_gone_at_once_with_its_tags(run, world, create, find):
    tags = {"volume": {"a": "b"}}
    volume_id, other_id = create(tags=tags), create(tags=tags)
    delete(run, world, volume_id)
    assert find(volume_id) is None
    assert run(lambda tx: [each.resource_id for each in tx.session.query(Tag)]) == [other_id]
    with pytest.raises(NotFound):
        delete(run, world, volume_id)


def test_one_with_a_home_goes_when_that_says_so(run, world, at_home, find, *, sent, pool, unchanged):
    volume_id = at_home()
    assert sent(volume_id) is True
    delete(run, world, volume_id)
    assert find(volume_id).state == "deleting"
    assert sent(volume_id) is False
    assert pool() == 8
    unchanged()
    delete(run, world, volume_id)
    unchanged()
    run(lambda tx: volume_life.forget(tx, tx.session.get_one(Volume, volume_id)))
    assert find(volume_id) is None
    assert pool() == 0


def test_the_disk_stays_while_a_snapshot_is_taken_of_it(run, world, at_home, add_snapshot, *, sent):
    volume_id = at_home()
    taken = [add_snapshot(volume_id=volume_id, state="pending", host_id=world.host_id) for _ in range(2)]
    add_snapshot(volume_id=volume_id)
    add_snapshot(state="pending", host_id=world.host_id)
    delete(run, world, volume_id)
    assert sent(volume_id) is True
    run(lambda tx: snapshot_life.complete(tx, tx.session.get_one(Snapshot, taken[0]), NOW))
    assert sent(volume_id) is True
    run(lambda tx: snapshot_life.fail(tx, tx.session.get_one(Snapshot, taken[1]), "why"))
    assert sent(volume_id) is False


@pytest.mark.parametrize("end", ["complete", "fail", "delete"])
def test_the_disk_goes_when_a_snapshot_ends_that_the_controller_makes(run, world, at_home, add_snapshot, *, sent, end):
    """Begun before the volume had a home, it is encrypted anew without a host."""
    volume_id = at_home()
    snapshot_id = add_snapshot(volume_id=volume_id, state="pending")
    delete(run, world, volume_id)
    assert sent(volume_id) is True

    def finish(tx):
        snapshot = tx.session.get_one(Snapshot, snapshot_id)
        match end:
            case "complete":
                snapshot_life.complete(tx, snapshot, NOW)
            case "fail":
                snapshot_life.fail(tx, snapshot, "why")
            case _:
                snapshot_life.delete_snapshot(tx, snapshot)

    run(finish)
    assert sent(volume_id) is False


def test_only_what_is_being_deleted_goes_when_a_snapshot_ends(run, at_home, sent, unchanged, add_snapshot):
    volume_id = at_home()
    unchanged()
    run(volume_life.continue_deletion, volume_id)
    run(volume_life.continue_deletion, "vol-ffffffff")
    unchanged()
    assert sent(volume_id) is True


@pytest.mark.parametrize(
    ("state", "shared", "stays"), [("deleting", False, False), ("deleting", True, True), ("completed", False, True)]
)
def test_what_the_last_volume_of_a_deleted_snapshot_lies_over_goes_with_it(  # noqa: PLR0917 - fixtures and a case
    run, world, at_home, add_snapshot, sent, state, shared, stays
):
    snapshot_id = add_snapshot()
    volume_id = at_home(snapshot_id=snapshot_id)
    if shared:
        at_home(snapshot_id=snapshot_id)
    run(lambda tx: setattr(tx.session.get_one(Snapshot, snapshot_id), "state", state))
    assert sent(snapshot_id, desired.KIND_BASE) is True
    run(lambda tx: volume_life.forget(tx, tx.session.get_one(Volume, volume_id)))
    assert sent(snapshot_id, desired.KIND_BASE) is stays


def test_a_zone_without_hosts_has_no_room(run, world, create):
    run(lambda tx: setattr(tx.session.get_one(Host, world.host_id), "zone", "us-east-1b"))
    with pytest.raises(NoCapacity):
        create()


def test_a_shape_that_is_built_is_the_row(world):
    row = volume_life.build(CLOUD, "1" * 12, ZONE, Shape(5, "gp2", 100), None, key_id=None, now=NOW)
    assert (row.size, row.volume_type, row.iops, row.throughput, row.generation) == (5, "gp2", 100, None, 0)
