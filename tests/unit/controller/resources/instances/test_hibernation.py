"""The room for hibernated guests' memories is taken while hosts have them, and what hosts are sent and report of it."""

import pytest
from sqlalchemy import update

from stead_controller.db.tables import StoragePool
from stead_controller.desired import revisions
from stead_controller.errors import NoCapacity
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.instances.hibernation import hibernate_instances
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.storage.block_devices import BlockDevice
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import GIB, NOW

MEMORY = 128 << 20


@pytest.fixture
def taken(life):
    """How many bytes of the host's pool are taken besides the root volume, as counted and as summed up anew."""
    life.run(
        lambda tx: (
            tx.session.merge(
                StoragePool(
                    host_id=life.world.host_id,
                    name="default",
                    backend="directory",
                    is_default=True,
                    total=100 * GIB,
                    free=0,
                )
            )
            and None
        )
    )

    def both(tx):
        counted = tx.session.get_one(StoragePool, (life.world.host_id, "default")).provisioned
        summed = volume_homes.provisioned(tx, life.world.host_id, "default", is_default=True)
        assert counted == summed
        return counted - 5 * GIB

    return lambda: life.run(both)


@pytest.fixture
def instance_id(life, taken):
    root = BlockDevice("/dev/sda1", size=5, encrypted=True)
    [made] = life.launch(hibernation=True, block_devices=(root,))
    life.is_running(made)
    assert taken() == 0
    return made


def hibernate(life, instance_id):
    return life.run(hibernate_instances, life.caller, life.world.cloud, [instance_id], NOW)


def is_off(life, instance_id, *, hibernated):
    """Report that the first start has ended, as last desired."""
    machine = pb.MachineStatus(
        power=pb.MACHINE_POWER_OFF, off_reason=pb.OFF_REASON_ASKED, start_count=1, hibernated=hibernated
    )
    life.report(desired.KIND_MACHINE, instance_id, machine=machine, revision=life.run(revisions.current))


def start(life, instance_id):
    life.run(start_instances, life.caller, life.world.cloud, [instance_id], NOW)


def test_room_is_taken_from_the_stop_until_it_runs_again(life, instance_id, taken):
    assert life.wanted()[0][instance_id].machine.metadata.hibernation
    hibernate(life, instance_id)
    assert taken() == MEMORY
    wanted = life.wanted()[0][instance_id].machine
    assert (wanted.power, wanted.hibernate, wanted.force_stop) == (desired.POWER_STOPPED, True, False)
    hibernate(life, instance_id)
    is_off(life, instance_id, hibernated=True)
    stopped = life.instance(instance_id)
    assert (stopped.state, stopped.state_reason_code) == ("stopped", "Client.UserInitiatedHibernate")
    assert (stopped.capacity_held, taken()) == (False, MEMORY)
    start(life, instance_id)
    assert taken() == MEMORY
    assert not life.wanted()[0][instance_id].machine.hibernate
    life.is_running(instance_id)
    assert (life.instance(instance_id).state, taken()) == ("running", 0)


def test_a_guest_that_was_shut_down_instead_takes_no_room(life, instance_id, taken):
    hibernate(life, instance_id)
    is_off(life, instance_id, hibernated=False)
    stopped = life.instance(instance_id)
    assert (stopped.state, stopped.state_reason_code) == ("stopped", "Client.UserInitiatedShutdown")
    assert taken() == 0


def test_a_forced_stop_ends_a_hibernation(life, instance_id, taken):
    hibernate(life, instance_id)
    life.run(stop_instances, life.caller, [instance_id], NOW, skip_shutdown=True)
    assert life.wanted()[0][instance_id].machine.force_stop
    is_off(life, instance_id, hibernated=False)
    assert (life.instance(instance_id).state, taken()) == ("stopped", 0)


def test_one_that_is_stopped_before_it_was_resumed_stays_hibernated(life, instance_id, taken):
    hibernate(life, instance_id)
    is_off(life, instance_id, hibernated=True)
    start(life, instance_id)
    life.run(stop_instances, life.caller, [instance_id], NOW)
    assert not life.wanted()[0][instance_id].machine.hibernate
    is_off(life, instance_id, hibernated=True)  # of the first start: the second has not begun
    assert (life.instance(instance_id).state, taken()) == ("stopped", MEMORY)


@pytest.mark.parametrize("is_saved", [False, True])
def test_a_termination_gives_the_room_back(life, instance_id, taken, is_saved):
    hibernate(life, instance_id)
    if is_saved:
        is_off(life, instance_id, hibernated=True)
    life.run(terminate_instances, life.caller, [instance_id], NOW)
    assert taken() == MEMORY
    life.is_absent(desired.KIND_MACHINE, instance_id)
    assert (life.instance(instance_id).state, taken()) == ("terminated", 0)


def test_without_room_it_runs_on(life, instance_id, taken, unchanged):
    room = (5 * GIB + MEMORY - 1) / life.world.cloud.volume_overcommit
    life.run(lambda tx: tx.session.execute(update(StoragePool).values(total=int(room))) and None)
    unchanged()
    with pytest.raises(NoCapacity, match="room for its memory"):
        hibernate(life, instance_id)
    unchanged()
    assert taken() == 0
