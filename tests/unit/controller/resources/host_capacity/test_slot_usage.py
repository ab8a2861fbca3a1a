"""Unused slots of capacity reservations are billed, each second that no instance has them."""

from datetime import timedelta

import pytest

from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.fleet import capacity_reservations
from stead_controller.resources.fleet.capacity_reservations import CapacityReservationChange, EndRequest
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import host_records
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.metered import lines, meters
from tests.support.reserving import LATER, ONLY, TYPE, launch, set_host
from tests.support.rows import CLOUD, NOW

USAGE = f"UnusedBox:{TYPE}"


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def unused(life):
    return [meter for meter in meters(life) if meter[1] == USAGE]


def ended(life):
    return [line[2:] for line in lines(life) if line[1] == USAGE]


def report(life, instance_id, condition=pb.CONDITION_READY, *, now, **more):
    status = pb.ResourceStatus(kind=desired.KIND_MACHINE, id=instance_id, condition=condition, **more)
    life.run(apply_progress, [(life.instance(instance_id).host_id, [status])], now)


@pytest.mark.usefixtures("booked")
def test_slots_are_billed_while_no_instance_has_them(life, reserve):
    reservation = reserve(3)
    assert unused(life) == [(reservation, USAGE, 3, 0)]
    one, _ = launch(life, 2, wants=ONLY)
    assert unused(life) == [(reservation, USAGE, 1, 0)]
    report(life, one, now=later(5), machine=pb.MachineStatus(power=pb.MACHINE_POWER_RUNNING, start_count=1))
    life.run(stop_instances, life.caller, [one], later(10))
    assert unused(life) == [(reservation, USAGE, 1, 0)], "its slot is free when its guest has ended"
    report(life, one, now=later(20), machine=pb.MachineStatus(power=pb.MACHINE_POWER_OFF, start_count=1))
    assert unused(life) == [(reservation, USAGE, 2, 0)]
    life.run(start_instances, life.caller, CLOUD, [one], later(50))
    assert unused(life) == [(reservation, USAGE, 1, 0)]
    life.run(terminate_instances, life.caller, [one], later(60))
    report(life, one, pb.CONDITION_ABSENT, now=later(65))
    change = CapacityReservationChange(7, EndRequest(), None)
    life.run(capacity_reservations.modify, life.caller, CLOUD, reservation, change, later(70))
    life.run(capacity_reservations.cancel, life.caller, reservation, later(80))
    assert unused(life) == []
    assert [line for line in ended(life) if line[1] != line[2]] == [
        (1, 0, 20), (2, 20, 50), (1, 50, 65), (2, 65, 70), (6, 70, 80),
    ]  # fmt: skip


@pytest.mark.usefixtures("booked")
def test_each_is_billed_as_its_own_type(life, reserve):
    found = {reserve(2): (USAGE, 2), reserve(1, kind="t3.micro"): ("UnusedBox:t3.micro", 1)}
    assert {resource: (usage, quantity) for resource, usage, quantity, _ in meters(life)} == found


@pytest.mark.usefixtures("booked")
def test_one_with_an_end_date_is_billed_until_it_has_expired(life, reserve):
    reserve(2, end=EndRequest("limited", LATER))
    life.run(capacity_reservations.expire, LATER)
    assert (unused(life), ended(life)) == ([], [(2, 0, 3600)])


@pytest.mark.usefixtures("booked")
def test_slots_that_are_lost_with_their_host_are_billed_no_more(life, reserve):
    reserve(2)
    launch(life, wants=ONLY)
    set_host(life, state="down", last_seen=later(30))
    life.run(host_records.remove_host, CLOUD, life.world.host_id, later(100), lost=True)
    assert unused(life) == []
    assert ended(life)[-1] == (1, 0, 100)


@pytest.mark.usefixtures("booked")
def test_nothing_is_asked_of_slots_where_a_launch_uses_none(life, monkeypatch):
    def refuse(*_):
        raise AssertionError("the launch path asks for what there is not")

    monkeypatch.setattr("stead_controller.resources.host_capacity.slot_usage.measure", refuse)
    launch(life)
