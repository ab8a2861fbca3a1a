"""What an owner makes of an image: deprecated, disabled, protected, deregistered, with its snapshots or without."""

from datetime import timedelta

import pytest

from stead_controller.db.tables import Image, ImageBlockDevice, ImagePermission, Snapshot, SnapshotDamage, Tag
from stead_controller.errors import InvalidParameter, NotAuthorized, NotFound, WrongState
from stead_controller.resources.images import image_life
from stead_controller.resources.storage import snapshot_damage
from tests.support import rows
from tests.support.rows import NOW

DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
WHOLE = NOW.replace(second=0, microsecond=0)


@pytest.fixture
def mine(world):
    return world.one.caller


@pytest.fixture
def add(run, mine):
    """Add an image of the first tenant, private where nothing else is said, and give its id."""

    def insert(snapshot_id=None, **changes):
        image = rows.image(**{"account_id": mine.account_id, "public": False} | changes)
        image.snapshot_id = snapshot_id or image.snapshot_id

        def write(tx):
            tx.session.add(image)
            tx.session.flush()
            tx.session.add(rows.image_device(image))
            return image.id

        return run(write)

    return insert


@pytest.fixture
def add_snapshot(run, mine):
    def insert(**changes):
        row = rows.snapshot(**{"account_id": mine.account_id} | changes)
        run(lambda tx: tx.session.add(row))
        return row.id

    return insert


@pytest.fixture
def find(run):
    """Look at an image's row, or None."""
    return lambda image_id: run(lambda tx: tx.session.get(Image, image_id))


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 9), (29.999, 9), (30, 10), (59, 10)])
def test_deprecation_is_at_the_nearest_minute(run, mine, add, find, *, seconds, minutes):
    image_id = add()
    run(image_life.deprecate, mine, image_id, WHOLE + 9 * MINUTE + timedelta(seconds=seconds), NOW)
    assert find(image_id).deprecate_at == WHOLE + minutes * MINUTE
    run(image_life.undeprecate, mine, image_id)
    assert find(image_id).deprecate_at is None


@pytest.mark.parametrize(("public", "days"), [(False, 3653), (True, 731 - 100)])
def test_deprecation_is_to_come_within_10_years_or_2_of_a_public_images_life(  # noqa: PLR0917 - fixtures and a case
    run, mine, add, find, public, days
):
    image_id = add(public=public, created=NOW - 100 * DAY)
    for bad in (NOW - SECOND, NOW, NOW + days * DAY + SECOND):
        with pytest.raises(InvalidParameter, match="2 years" if public else "10 years"):
            run(image_life.deprecate, mine, image_id, bad, NOW)
    assert find(image_id).deprecate_at is None
    for good in (NOW + SECOND, NOW + days * DAY):
        run(image_life.deprecate, mine, image_id, good, NOW)
        assert abs(find(image_id).deprecate_at - good) <= MINUTE / 2


def test_a_disabled_image_is_not_shared_and_enabled_again(run, mine, add, find, *, world):
    image_id, other_id = add(public=True), add(public=True)

    def permit(tx):
        for each in (image_id, other_id):
            tx.session.add(ImagePermission(image_id=each, account_id=world.other.caller.account_id))

    run(permit)
    for _ in range(2):
        run(image_life.disable, mine, image_id)
        assert (find(image_id).state, find(image_id).public) == ("disabled", False)
    assert run(lambda tx: [each.image_id for each in tx.session.query(ImagePermission)]) == [other_id]
    for _ in range(2):
        run(image_life.enable, mine, image_id)
        assert (find(image_id).state, find(image_id).state_reason) == ("available", "")
    assert find(image_id).public is False


@pytest.mark.parametrize("operation", [image_life.disable, image_life.enable])
@pytest.mark.parametrize("state", ["pending", "failed", "error"])
def test_what_is_not_there_yet_or_damaged_is_neither_disabled_nor_enabled(  # noqa: PLR0917 - fixtures and a case
    run, mine, add, unchanged, operation, state
):
    image_id = add(state=state)
    unchanged()
    with pytest.raises(WrongState, match=f"its state is {state}"):
        run(operation, mine, image_id)
    unchanged()


def test_an_image_whose_data_was_damaged_meanwhile_is_not_available_again(run, mine, add, find, add_snapshot):
    snapshot_id = add_snapshot()
    image_id = add(snapshot_id, state="disabled")
    damage = SnapshotDamage(snapshot_id=snapshot_id, digest=bytes(32), since=NOW)
    run(lambda tx: tx.session.add(damage))
    run(image_life.enable, mine, image_id)
    assert (find(image_id).state, find(image_id).state_reason) == ("error", snapshot_damage.OF_IMAGE)


def test_a_protected_image_stays_until_it_is_protected_no_more(run, mine, add, find):
    image_id = add()
    assert run(image_life.protect, mine, image_id, cooldown=False) == "enabled-without-cooldown"
    with pytest.raises(WrongState, match=r"protected from deregistration\.") as refusal:
        run(image_life.deregister, mine, image_id, NOW)
    assert refusal.value.code == "OperationNotPermitted"
    assert run(image_life.unprotect, mine, image_id, NOW) == "disabled"
    assert find(image_id).protected_until is None
    run(image_life.deregister, mine, image_id, NOW)
    assert find(image_id) is None


def test_a_cool_down_lasts_a_day_from_the_end_of_the_protection(run, mine, add, find):
    image_id = add()
    assert run(image_life.protect, mine, image_id, cooldown=True) == "enabled-with-cooldown"
    assert run(image_life.unprotect, mine, image_id, NOW) == "disabled"
    assert run(image_life.unprotect, mine, image_id, NOW + DAY / 2) == "disabled"
    with pytest.raises(WrongState, match=r"until 2026-03-05T05:06:07.089Z\.") as refusal:
        run(image_life.deregister, mine, image_id, NOW + DAY - SECOND)
    assert refusal.value.code == "OperationNotPermitted"
    assert find(image_id) is not None
    run(image_life.deregister, mine, image_id, NOW + DAY)
    assert find(image_id) is None


def test_who_protects_an_image_again_ends_its_cool_down(run, mine, add, find):
    image_id = add()
    run(image_life.protect, mine, image_id, cooldown=True)
    run(image_life.unprotect, mine, image_id, NOW)
    run(image_life.protect, mine, image_id, cooldown=False)
    assert find(image_id).protected_until is None


def test_only_the_owner_does_any_of_it(run, add, unchanged, world):
    image_id, caller = add(public=True), world.other.caller
    unchanged()
    for asked in (
        (image_life.deprecate, caller, image_id, NOW + DAY, NOW),
        (image_life.undeprecate, caller, image_id),
        (image_life.disable, caller, image_id),
        (image_life.enable, caller, image_id),
        (image_life.unprotect, caller, image_id, NOW),
        (image_life.deregister, caller, image_id, NOW),
    ):
        with pytest.raises(NotAuthorized):
            run(*asked)
    with pytest.raises(NotAuthorized):
        run(image_life.protect, caller, image_id, cooldown=True)
    unchanged()


def test_a_deregistered_image_is_gone_with_everybodys_tags_and_nothing_else_is(run, mine, add, add_snapshot, *, world):
    snapshot_id = add_snapshot()
    image_id, other_id = add(snapshot_id), add()

    def tag(tx):
        for resource, caller in ((image_id, mine), (image_id, world.other.caller), (other_id, mine)):
            kind = {"account_id": caller.account_id, "resource_type": "image"}
            tx.session.add(Tag(resource_id=resource, key="a", value="b", **kind))

    run(tag)
    assert run(image_life.deregister, mine, image_id, NOW) == []
    with pytest.raises(NotFound):
        run(image_life.deregister, mine, image_id, NOW)
    assert run(lambda tx: {each.id for each in tx.session.query(Image)}) == {world.image_id, other_id}
    assert run(lambda tx: [each.resource_id for each in tx.session.query(Tag)]) == [other_id]
    assert run(lambda tx: tx.session.get_one(Snapshot, snapshot_id)).state == "completed"


def test_an_image_is_not_found_in_the_transaction_that_deregisters_it(run, mine, add):
    image_id = add()

    def deregister(tx):
        image_life.deregister(tx, mine, image_id, NOW)
        tx.session.flush()
        return tx.session.get(Image, image_id)

    assert run(deregister) is None


def test_snapshots_that_no_other_image_has_go_with_it_on_request(run, mine, add, add_snapshot, *, world):
    ids = {
        "success": add_snapshot(),
        "skipped": add_snapshot(),
        "missing-permissions": add_snapshot(account_id=world.other.caller.account_id),
        "absent": "snap-00000000000000000",
        "deleting": add_snapshot(state="deleting"),
    }
    image_id = add(ids["success"])
    add(ids["skipped"])

    def map_them(tx):
        more = [*ids.values(), None]
        for letter, snapshot_id in zip("fghijk", more, strict=True):
            device = {"device_name": f"/dev/sd{letter}", "snapshot_id": snapshot_id, "volume_size": 8}
            tx.session.add(ImageBlockDevice(image_id=image_id, **device))

    run(map_them)
    results = run(image_life.deregister, mine, image_id, NOW, with_snapshots=True)
    assert {each.snapshot_id: each.return_code for each in results} == {
        ids["success"]: "success",
        ids["skipped"]: "skipped",
        ids["missing-permissions"]: "missing-permissions",
        ids["absent"]: "missing-permissions",
        ids["deleting"]: "success",
    }
    assert len(results) == len(ids), "one that is mapped twice is reported once"
    states = {name: run(lambda tx, each=each: tx.session.get(Snapshot, each)) for name, each in ids.items()}
    assert {name: row and row.state for name, row in states.items()} == {
        "success": "deleting",
        "skipped": "completed",
        "missing-permissions": "completed",
        "absent": None,
        "deleting": "deleting",
    }
