"""No volume was ever modified; those that are named are checked all the same."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Volume
from stead_controller.errors import MalformedId, NotFound
from stead_controller.resources import volume_modifications
from tests.unit.controller.resources import rows


@pytest.fixture
def volume_id(world, run):
    """The root volume of an instance of the first tenant."""

    def launch(tx):
        instance = rows.launch(tx, world, world.one)
        return tx.session.scalar(select(Volume.id).where(Volume.instance_id == instance.id))

    return run(launch)


def test_naming_nothing_is_no_error(world, run):
    run(volume_modifications.require, world.one.caller, ())


def test_a_volume_that_was_never_modified(world, run, volume_id):
    with pytest.raises(NotFound) as refusal:
        run(volume_modifications.require, world.one.caller, [volume_id])
    assert refusal.value.code == "InvalidVolumeModification.NotFound"


def test_a_volume_of_another_account_is_absent(world, run, volume_id):
    refusals = []
    for named in (volume_id, "vol-00000000000000000"):
        with pytest.raises(NotFound) as refusal:
            run(volume_modifications.require, world.other.caller, [named])
        refusals.append((refusal.value.code, refusal.value.message.replace(named, "X")))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] is None


def test_malformed_ids(world, run):
    with pytest.raises(MalformedId):
        run(volume_modifications.require, world.one.caller, ["vol-nonsense"])
