"""Which snapshots a caller sees and may use."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostResource, Image, Snapshot, SnapshotPermission, Tag
from stead_controller.desired import desired_state
from stead_controller.errors import InUse, InvalidParameter, MalformedId, NotFound, WrongState
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.images import copy_image
from stead_controller.resources.storage import delete_snapshot, snapshots
from stead_controller.resources.storage.snapshots import SnapshotSelection
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows


@pytest.fixture
def made(run, world):
    """Snapshots of all kinds by name: whose they are and who else may use them."""
    one, other = world.one.caller.account_id, world.other.caller.account_id
    found = {
        "own": rows.snapshot(one, description="mine", volume_size=9),
        "pending": rows.snapshot(one, state="pending", progress=40),
        "deleting": rows.snapshot(one, state="deleting"),
        "theirs": rows.snapshot(other),
        "shared": rows.snapshot(other),
        "shared pending": rows.snapshot(other, state="pending"),
        "shared deleting": rows.snapshot(other, state="deleting"),
        "given": rows.snapshot(one),
        "public": rows.snapshot(CLOUD_ACCOUNT, public=True),
        "public failed": rows.snapshot(CLOUD_ACCOUNT, public=True, state="error"),
    }

    def add(tx):
        tx.session.add_all(found.values())
        tx.session.flush()
        for name in ("shared", "shared pending", "shared deleting"):
            tx.session.add(SnapshotPermission(snapshot_id=found[name].id, account_id=one))
        tx.session.add(SnapshotPermission(snapshot_id=found["given"].id, account_id=other))

    run(add)
    return {name: row.id for name, row in found.items()}


@pytest.fixture
def seen(run, world, made):
    """Give the names of the snapshots that a Describe of the first tenant shows."""
    names = {snapshot_id: name for name, snapshot_id in made.items()}

    def ask(selection=None, **asked):
        wanted = SnapshotSelection(selection or Selection(), **asked)
        return {names[one.snapshot.id] for one in run(snapshots.describe, world.one.caller, wanted)}

    return ask


MINE = {"own", "pending", "given"}
OTHERS = {"shared", "shared pending", "public"}


def test_a_caller_sees_its_own_and_what_is_shared(seen):
    assert seen() == MINE | OTHERS


def test_owners_and_who_may_restore(seen, world):
    other = world.other.caller.account_id
    assert seen(owners=("self",)) == MINE
    assert seen(owners=("amazon",)) == {"public"}
    assert seen(owners=(other,)) == {"shared", "shared pending"}
    assert seen(owners=("aws-marketplace",)) == set()
    assert seen(restorable_by=("all",)) == {"public"}
    assert seen(restorable_by=("self",)) == MINE | {"shared", "shared pending"}
    assert seen(restorable_by=(other,)) == {"given"}
    for asked in ({"owners": ("nobody",)}, {"restorable_by": ("nobody",)}):
        with pytest.raises(InvalidParameter) as refusal:
            seen(**asked)
        assert refusal.value.code == "InvalidUserID.Malformed"


@pytest.mark.parametrize(
    ("name", "value", "names"),
    [
        ("progress", "40%", {"pending"}),
        ("status", "pending", {"pending", "shared pending"}),
        ("description", "m*", {"own"}),
        ("volume-size", "9", {"own"}),
        ("owner-alias", "amazon", {"public"}),
        ("owner-id", CLOUD_ACCOUNT, {"public"}),
        ("encrypted", "true", set()),
        ("storage-tier", "archive", set()),
        ("start-time", "2026-03-*", MINE | OTHERS),
    ],
)
def test_filters(seen, name, value, names):
    assert seen(Selection(filters=(Filter(name, (value,)),))) == names


def test_what_can_be_used(run, world, made):
    caller = world.one.caller
    for name in ("own", "given", "shared", "public"):
        assert run(snapshots.find_usable, caller, made[name]).id == made[name]
    for name in ("pending", "shared pending"):
        with pytest.raises(WrongState):
            run(snapshots.find_usable, caller, made[name])
    for name in ("deleting", "theirs", "shared deleting", "public failed"):
        with pytest.raises(NotFound):
            run(snapshots.find_usable, caller, made[name])
    with pytest.raises(MalformedId):
        run(snapshots.find_usable, caller, "vol-0123456789abcdef0")
    for name in ("shared", "deleting", "public"):
        with pytest.raises(NotFound):
            run(snapshots.find_own, caller, made[name])


def test_what_is_known(run, world, made):
    def known(name):
        (one,) = run(snapshots.describe, world.one.caller, SnapshotSelection(Selection(ids=(made[name],))))
        return one

    def change(tx):
        for name in ("pending", "own"):
            tx.session.get_one(Snapshot, made[name]).stored_size = 4096
        tag = {"account_id": world.one.caller.account_id, "resource_type": "snapshot", "resource_id": made["own"]}
        tx.session.add_all([Tag(key="b", value="2", **tag), Tag(key="a", value="1", **tag)])

    run(change)
    pending, own = known("pending"), known("own")
    assert (pending.state, pending.progress, pending.completed) == ("pending", 40, rows.NOW)
    assert (pending.stored_size, pending.tags) == (None, ())
    assert (own.state, own.stored_size, own.tags) == ("completed", 4096, [("a", "1"), ("b", "2")])


def test_a_new_one_is_pending_for_who_asked_even_if_it_is_complete_at_once(run, world, made):
    def begun(tx):
        return snapshots.describe_begun(tx, world.one.caller, [tx.session.get_one(Snapshot, made["own"])])

    (one,) = run(begun)
    assert one.snapshot.state == "completed"
    assert (one.state, one.progress, one.completed, one.stored_size) == ("pending", 0, None, None)


def over(run, world, account, snapshot_id, **changes):
    """Make an image of an account over a snapshot."""

    def add(tx):
        image = rows.image(account_id=account, name=f"of {account}", snapshot_id=snapshot_id, **changes)
        tx.session.add(image)
        tx.session.flush()
        tx.session.add(rows.image_device(image))
        return image.id

    return run(add)


def test_an_image_of_another_account_does_not_protect_a_snapshot(run, world, made):
    one, other = world.one.caller, world.other.caller
    own_image = over(run, world, one.account_id, made["given"], public=False)
    theirs = over(run, world, other.account_id, made["given"], public=False)
    with pytest.raises(InUse, match=own_image):
        run(delete_snapshot.delete, one, made["given"], rows.NOW)
    run(lambda tx: setattr(tx.session.get_one(Image, own_image), "state", "deregistered"))
    run(delete_snapshot.delete, one, made["given"], rows.NOW)
    asked = copy_image.CopyOf(theirs, "a copy")
    with pytest.raises(WrongState, match="is not available"):
        run(
            lambda tx: copy_image.copy(
                tx, other, world.cloud, asked, repeatable=Repeatable("CopyImage", "", ""), now=rows.NOW
            )
        )


def test_a_base_goes_from_all_hosts_at_once_but_for_those_with_volumes_over_it(run, world, made, statements):
    key = {"kind": desired.KIND_BASE, "resource_id": made["own"], "revision": 1, "body": b"told", "force": False}

    def add(tx):
        hosts = [rows.host(hostname=f"base-{number}") for number in range(30)]
        tx.session.add_all(hosts)
        tx.session.flush()
        tx.session.add_all(HostResource(host_id=host.id, **key) for host in hosts)
        instance = rows.launch(tx, world, world.one)
        used = rows.volume(instance, world, host_id=hosts[0].id, snapshot_id=made["own"])
        tx.session.add(used)
        return hosts[0].id

    using = run(add)
    held = select(HostResource.host_id).where(HostResource.resource_id == made["own"], HostResource.body.is_not(None))
    run(desired_state.remove_unused_base, made["own"])
    assert len(run(lambda tx: tx.session.scalars(held).all())) == 30, "it is still there for new volumes"
    run(lambda tx: setattr(tx.session.get_one(Snapshot, made["own"]), "state", "deleting"))
    statements.clear()
    run(desired_state.remove_unused_base, made["own"])
    assert len(statements) < 10, statements
    assert run(lambda tx: tx.session.scalars(held).all()) == [using]
