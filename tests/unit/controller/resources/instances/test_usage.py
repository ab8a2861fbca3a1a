"""What lives of instances, volumes and NAT gateways write into the ledger."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, Instance, UsageLine, UsageMeter, Volume
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.instances.instance_states import change_state
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import host_records
from stead_controller.resources.storage import volume_life, volume_modifications
from stead_controller.resources.storage.volume_life import CreateRequest
from stead_controller.resources.storage.volume_modifications import ModifyRequest
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import CLOUD, NOW


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def lines(life):
    """Each line of the ledger: what was used, how much, and from when to when, in seconds from NOW."""
    present = int(NOW.timestamp())
    found = life.run(lambda tx: tx.session.scalars(select(UsageLine).order_by(UsageLine.number)).all())
    return [(row.usage, row.quantity, row.began - present, row.ended - present) for row in found]


def meters(life):
    present = int(NOW.timestamp())
    found = life.run(lambda tx: tx.session.scalars(select(UsageMeter).order_by(UsageMeter.usage)).all())
    return [(row.usage, row.quantity, row.began - present) for row in found]


def test_an_instance_is_billed_while_it_runs_and_its_volume_until_it_ends(life):
    (made,) = life.launch(instance_type="t3.micro")
    root = ("EBS:VolumeUsage.gp3", life.run(lambda tx: tx.session.scalars(select(Volume.size)).one()))
    assert meters(life) == [(*root, 0)], "nothing is billed while it is pending"
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    assert meters(life) == [("BoxUsage:t3.micro", 1, 5), (*root, 0)]
    life.run(stop_instances, life.caller, [made], later(105))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 105)]
    life.power(made, pb.MACHINE_POWER_OFF, now=later(110))
    life.run(start_instances, life.caller, CLOUD, [made], later(200))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, 105)], "a stop is billed once"
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(210))
    life.run(terminate_instances, life.caller, [made], later(220))
    assert lines(life)[1:] == [("BoxUsage:t3.micro", 1, 210, 270)], "each run is a minute at least"
    life.report(desired.KIND_MACHINE, made, pb.CONDITION_ABSENT, now=later(230))
    assert meters(life) == []
    assert lines(life)[2:] == [(*root, 0, 230)]


@pytest.mark.parametrize(("hibernates", "ended"), [(True, 130), (False, 100)])
def test_one_that_saves_its_memory_is_billed_until_it_has(life, hibernates, ended):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))

    def stop(tx):
        instance = tx.session.get_one(Instance, made)
        instance.hibernate_stop = hibernates
        change_state(tx, instance, "stopping", later(100))

    life.run(stop)
    life.power(made, pb.MACHINE_POWER_OFF, now=later(130))
    assert lines(life) == [("BoxUsage:t3.micro", 1, 5, ended)]


@pytest.mark.parametrize(
    ("columns", "usage"),
    [({"spot_request_id": "sir-1"}, "SpotUsage:t3.micro"), ({"tenancy": "dedicated"}, "DedicatedUsage:t3.micro")],
)
def test_spot_and_dedicated_instances_are_billed_as_such(life, columns, usage):
    (made,) = life.launch(instance_type="t3.micro")

    def run(tx):
        instance = tx.session.get_one(Instance, made)
        for name, value in columns.items():
            setattr(instance, name, value)
        change_state(tx, instance, "running", NOW)

    life.run(run)
    assert (usage, 1, 0) in meters(life)


def test_a_volume_is_billed_as_it_is_modified_and_deleted(life):
    request = CreateRequest(
        Repeatable("CreateVolume", "", b""), zone=life.world.cloud.zones[0], size=10, volume_type="gp3"
    )
    made = life.run(volume_life.create, life.caller, CLOUD, request, NOW)
    assert meters(life) == [("EBS:VolumeUsage.gp3", 10, 0)]
    life.run(volume_modifications.modify, life.caller, CLOUD, ModifyRequest(made, size=20, iops=4000), later(50))
    assert lines(life) == [("EBS:VolumeUsage.gp3", 10, 0, 50)]
    assert meters(life) == [("EBS:VolumeP-IOPS.gp3", 1000, 50), ("EBS:VolumeUsage.gp3", 20, 50)]
    life.run(volume_life.delete, life.caller, made, later(80))
    assert meters(life) == []
    assert sorted(lines(life)[1:]) == [("EBS:VolumeP-IOPS.gp3", 1000, 50, 80), ("EBS:VolumeUsage.gp3", 20, 50, 80)]


def test_what_is_lost_with_its_host_is_billed_no_more(life):
    (made,) = life.launch(instance_type="t3.micro")
    life.power(made, pb.MACHINE_POWER_RUNNING, now=later(5))
    life.run(lambda tx: setattr(tx.session.get_one(Host, life.world.host_id), "state", "down"))
    life.run(host_records.remove_host, CLOUD, life.world.host_id, later(500), lost=True)
    assert meters(life) == []
    assert {(usage, ended) for usage, _, _, ended in lines(life)} == {
        ("BoxUsage:t3.micro", 500), ("EBS:VolumeUsage.gp3", 500),
    }  # fmt: skip
