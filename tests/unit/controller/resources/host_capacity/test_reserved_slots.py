"""A slot of a capacity reservation is used by one instance, on a host that can run it, whoever else chose it as well."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import CapacityReservation, CapacityReservationSlots, Host, StoragePool
from stead_controller.placement.need import Need
from stead_controller.resources.host_capacity import reserved_slots
from tests.support.rows import CLOUD, NOW

ID = "cr-00000000000000001"
SIZE = reserved_slots._Size(2, 100, 0)
FITS = {"vcpus": 2, "memory": 100, "uefi": True, "tpm": True}


@pytest.fixture
def try_to_use(world, run):
    """Try to use the only slot of a host that is full but for it, as one that has just chosen it does."""

    def build(tx):
        tx.session.execute(
            update(Host).values(cpus_offered=8, cpus_reserved=8, memory_offered=900, memory_reserved=900, cpus=8)
        )
        reservation = CapacityReservation(
            id=ID,
            account_id=world.one.caller.account_id,
            instance_type="lab.small",
            platform="Linux/UNIX",
            architecture="x86_64",
            zone="us-east-1a",
            instance_count=1,
            match_criteria="open",
            ebs_optimized=False,
            vcpus=2,
            memory=100,
            instance_store=0,
            state="active",
            created=NOW,
        )
        tx.session.add(reservation)
        tx.session.flush()
        tx.session.add(CapacityReservationSlots(reservation_id=ID, host_id=world.host_id, slots=1, used=0))

    run(build)

    def call(**need):
        use = reserved_slots._use
        return run(use, world.host_id, ID, Need(**FITS | need), SIZE)

    return call


def test_of_two_who_chose_a_slot_one_gets_it(try_to_use, world, run):
    assert [try_to_use(), try_to_use()] == [True, False]
    run(reserved_slots.give_back, ID, world.host_id)
    assert try_to_use()


@pytest.mark.parametrize(
    "change",
    [
        {"state": "down"},
        {"schedulable": False},
        {"uefi": False},
        {"tpm": False},
        {"cpus": 1},
        {"cpus_offered": 7},
        {"memory_offered": 899},
    ],
)
def test_a_host_that_has_changed_since_does_not_run_it(try_to_use, run, change):
    run(lambda tx: tx.session.execute(update(Host).values(**change)) and None)
    assert not try_to_use()


def test_a_smaller_instance_fits_into_what_a_host_that_shrank_has_left(try_to_use, run):
    run(lambda tx: tx.session.execute(update(Host).values(cpus_offered=7, memory_offered=850)) and None)
    assert not try_to_use(vcpus=1)
    assert not try_to_use(memory=50)
    assert try_to_use(vcpus=1, memory=50)


def test_an_instance_is_not_adopted_where_the_pool_has_no_room_for_the_rest(try_to_use, world, run):
    assert try_to_use()
    pool = StoragePool(host_id=world.host_id, name="default", backend="directory", is_default=True, total=0, free=0)

    def adopt(tx):
        tx.session.add(pool)
        tx.session.execute(update(Host).values(cpus_offered=16, memory_offered=1800))
        reservation = tx.session.get_one(CapacityReservation, ID)
        reservation.instance_store = 1
        tx.session.flush()
        done = reserved_slots.adopt(tx, CLOUD, reservation, world.host_id, Need(1, 50))
        return done, tuple(tx.session.execute(select(Host.cpus_reserved, Host.memory_reserved)).one())

    assert run(adopt) == (False, (8, 900))
