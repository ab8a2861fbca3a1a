"""Which images a caller sees and may launch."""

from datetime import timedelta

import pytest

from stead_controller.db.tables import CloudFact, ImagePermission
from stead_controller.errors import InvalidParameter, MalformedId, NotAuthorized, NotFound, WrongState
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.images import images
from stead_controller.resources.images.images import ImageSelection
from tests.support import rows


def add(run, **changes):
    def insert(tx):
        image = rows.image(**changes)
        tx.session.add(image)
        tx.session.flush()
        tx.session.add(rows.image_device(image))
        return image.id

    return run(insert)


def names(found):
    return {one.image.name for one in found}


def describe(run, caller, *, filters=(), **asked):
    selection = Selection(tuple(asked.pop("ids", ())), tuple(Filter(name, values) for name, values in filters))
    return run(images.describe, caller, ImageSelection(selection, **asked), rows.NOW)


def test_the_clouds_image_is_launchable_by_everybody(world, run):
    for tenant in (world.one, world.other):
        assert run(images.find_launchable, tenant.caller, world.image_id).id == world.image_id


def test_a_private_image_is_launchable_by_its_owner_only(world, run):
    mine = add(run, account_id=world.one.caller.account_id, public=False)
    assert run(images.find_launchable, world.one.caller, mine).id == mine
    with pytest.raises(NotFound) as refusal:
        run(images.find_launchable, world.other.caller, mine)
    with pytest.raises(NotFound) as absent:
        run(images.find_launchable, world.other.caller, "ami-00000000000000000")
    assert refusal.value.message.replace(mine, "X") == absent.value.message.replace("ami-00000000000000000", "X")


def test_an_unfinished_image_is_unavailable_to_its_owner_and_absent_for_others(world, run):
    pending = add(run, account_id=world.one.caller.account_id, state="pending", public=True)
    with pytest.raises(WrongState):
        run(images.find_launchable, world.one.caller, pending)
    with pytest.raises(NotFound):
        run(images.find_launchable, world.other.caller, pending)


def test_a_malformed_id_is_refused_before_an_absent_one(world, run):
    with pytest.raises(MalformedId):
        run(images.find_launchable, world.one.caller, "ami-XYZ")
    with pytest.raises(MalformedId):
        describe(run, world.one.caller, ids=["ami-00000000000000000", "i-00000000000000000"])
    with pytest.raises(NotFound):
        describe(run, world.one.caller, ids=["ami-00000000000000000"])


def test_what_is_known(world, run):
    (known,) = describe(run, world.one.caller)
    assert (known.image.id, known.image.account_id) == (world.image_id, CLOUD_ACCOUNT)
    assert [(one.device_name, one.volume_size) for one in known.devices] == [(known.image.root_device_name, 2)]
    assert (known.source_region, known.tags) == (None, ())


def test_the_region_is_that_of_copies(world, run):
    caller = world.one.caller
    copied = add(run, account_id=caller.account_id, name="copied", source_image_id=world.image_id)
    own = add(run, account_id=caller.account_id, name="own")
    run(lambda tx: tx.session.merge(CloudFact(name="region", value="us-east-1")))
    known = {one.image.id: one.source_region for one in describe(run, caller, ids=[copied, own])}
    assert known == {copied: "us-east-1", own: None}


def test_owners_choose(world, run):
    add(run, account_id=world.one.caller.account_id, public=False, name="mine")
    add(run, account_id=world.other.caller.account_id, public=True, name="shared")
    caller = world.one.caller
    assert names(describe(run, caller)) == {"micro-1", "mine", "shared"}
    assert names(describe(run, caller, owners=("self",))) == {"mine"}
    assert names(describe(run, caller, owners=("amazon",))) == {"micro-1"}
    assert names(describe(run, caller, owners=("amazon", "self"))) == {"micro-1", "mine"}
    assert names(describe(run, caller, owners=(world.other.caller.account_id,))) == {"shared"}
    assert names(describe(run, caller, owners=("aws-marketplace",))) == set()
    assert names(describe(run, caller, executable_by=("all",))) == {"micro-1", "shared"}
    assert names(describe(run, caller, executable_by=("self",))) == set()
    with pytest.raises(InvalidParameter) as refusal:
        describe(run, caller, owners=("me",))
    assert refusal.value.code == "InvalidUserID.Malformed"
    with pytest.raises(InvalidParameter):
        describe(run, caller, executable_by=("everybody",))


def permit(run, image_id, account_id):
    run(lambda tx: tx.session.add(ImagePermission(image_id=image_id, account_id=account_id)))


def test_a_permitted_account_sees_and_launches(world, run):
    one, other = world.one.caller, world.other.caller
    mine = add(run, account_id=one.account_id, public=False, name="mine")
    assert names(describe(run, other)) == {"micro-1"}
    permit(run, mine, other.account_id)
    assert names(describe(run, other)) == {"micro-1", "mine"}
    assert run(images.find_launchable, other, mine).id == mine
    assert names(describe(run, other, executable_by=("self",))) == {"mine"}
    assert names(describe(run, one, executable_by=(other.account_id,))) == {"mine"}
    assert names(describe(run, other, executable_by=(one.account_id,))) == set()
    with pytest.raises(NotAuthorized):
        run(images.find_own, other, mine)


def test_deprecated_images_of_others_and_disabled_ones_are_shown_on_request(world, run):
    one, other = world.one.caller, world.other.caller
    old = add(run, account_id=one.account_id, name="old", public=True, deprecate_at=rows.NOW)
    coming = rows.NOW + timedelta(minutes=1)
    add(run, account_id=one.account_id, name="soon", public=True, deprecate_at=coming)
    off = add(run, account_id=one.account_id, name="off", public=False, state="disabled")
    assert names(describe(run, other)) == {"micro-1", "soon"}
    assert names(describe(run, other, deprecated=True)) == {"micro-1", "soon", "old"}
    assert names(describe(run, other, ids=[old])) == {"old"}
    assert names(describe(run, one)) == {"micro-1", "soon", "old"}
    assert names(describe(run, one, disabled=True)) == {"micro-1", "soon", "old", "off"}
    assert names(describe(run, one, ids=[off])) == {"off"}
    with pytest.raises(NotFound):
        describe(run, other, ids=[off], disabled=True)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("name", "micro-*", True),
        ("name", "micro-?", True),
        ("name", "MICRO-1", False),
        ("name", "micro", False),
        ("architecture", "x86_64", True),
        ("architecture", "arm64", False),
        ("is-public", "true", True),
        ("is-public", "false", False),
        ("owner-alias", "amazon", True),
        ("owner-id", CLOUD_ACCOUNT, True),
        ("root-device-type", "ebs", True),
        ("virtualization-type", "hvm", True),
        ("state", "available", True),
        ("creation-date", "2026-03-04T*", True),
        ("creation-date", "2026-03-04T05:06:07.089Z", True),
        ("creation-date", "2026-03-05*", False),
        ("block-device-mapping.volume-size", "2", True),
        ("block-device-mapping.volume-size", "3", False),
        ("manifest-location", "amazon/*", True),
        ("block-device-mapping.device-name", "/dev/sda1", True),
        ("block-device-mapping.snapshot-id", "snap-*", True),
        ("block-device-mapping.volume-type", "gp2", False),
        ("block-device-mapping.encrypted", "true", False),
        ("block-device-mapping.delete-on-termination", "true", True),
        ("ena-support", "true", True),
        ("imds-support", "*", False),
        ("source-image-id", "*", False),
        ("state-reason-message", "*", False),
        ("platform", "windows", False),
        ("product-code", "*", False),
    ],
)
def test_filters(world, run, name, value, found):
    assert bool(describe(run, world.one.caller, filters=[(name, (value,))])) is found
