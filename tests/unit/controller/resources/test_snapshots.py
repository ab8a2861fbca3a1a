"""Which snapshots a caller sees and may use."""

import pytest

from stead_controller.db.tables import SnapshotPermission
from stead_controller.errors import InvalidParameter, MalformedId, NotFound, WrongState
from stead_controller.resources import snapshots
from stead_controller.resources.conditions import Selection
from stead_controller.resources.filters import Filter
from stead_controller.resources.owners import CLOUD_ACCOUNT
from stead_controller.resources.snapshots import SnapshotSelection
from tests.unit.controller.resources import rows


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
        return {names[row["SnapshotId"]] for row in run(snapshots.describe, world.one.caller, wanted)}

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


def test_how_it_looks(run, world, made):
    (shown,) = run(snapshots.describe, world.one.caller, SnapshotSelection(Selection(ids=(made["pending"],))))
    assert (shown["State"], shown["Progress"], shown["CompletionTime"]) == ("pending", "40%", rows.NOW)
    assert (shown["VolumeSize"], shown["Encrypted"], shown["OwnerAlias"]) == (8, False, None)
    assert shown["OwnerId"] == world.one.caller.account_id
