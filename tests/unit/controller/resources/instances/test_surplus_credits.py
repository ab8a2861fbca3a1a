"""Surplus CPU credits are billed as hosts count them: each once, whatever is reported again."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from stead_controller.db.tables import UsageAmount
from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import NOW


@pytest.fixture
def instance(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING)
    return made


def billed(life):
    rows = life.run(lambda tx: tx.session.scalars(select(UsageAmount).order_by(UsageAmount.hour)).all())
    return [(row.resource_id, row.usage, row.operation, row.zone, row.amount) for row in rows]


def tell(life, instance_id, charged, *, made=1, condition=pb.CONDITION_READY, seconds=0, host=None, **more):
    machine = pb.MachineStatus(cpu_credits=pb.CpuCreditBalance(charged=charged, made=made), **more)
    status = pb.ResourceStatus(kind=desired.KIND_MACHINE, id=instance_id, condition=condition, machine=machine)
    host = host or life.instance(instance_id).host_id
    life.run(apply_progress, [(host, [status])], NOW + timedelta(seconds=seconds))


RUNS = {"power": pb.MACHINE_POWER_RUNNING, "start_count": 1}


def test_what_is_charged_is_billed_once(life, instance):
    for charged in (0, 1500, 1500, 1000, 4000):
        tell(life, instance, charged, **RUNS)
    zone = life.instance(instance).zone
    assert billed(life) == [(instance, "CPUCredits:t3", "T3CPUCredits", zone, 4000)]
    tell(life, instance, 4500, seconds=3600, **RUNS)
    assert [row[-1] for row in billed(life)] == [4000, 500]


def test_another_account_of_the_instance_begins_at_zero(life, instance):
    tell(life, instance, 4000, **RUNS)
    tell(life, instance, 300, made=2, **RUNS)
    tell(life, instance, 4000, **RUNS)
    assert [row[-1] for row in billed(life)] == [4300]


def test_another_host_is_not_believed(life, instance):
    tell(life, instance, 4000, host="host-0123456789abcdef0", **RUNS)
    assert billed(life) == []


def test_what_it_owed_is_billed_when_it_is_gone(life, instance):
    life.run(terminate_instances, life.caller, [instance], NOW)
    tell(life, instance, 700, condition=pb.CONDITION_ABSENT)
    assert life.instance(instance).state == "terminated"
    assert [row[-1] for row in billed(life)] == [700]
