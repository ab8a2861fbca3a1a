"""What all EBS volumes of an instance may do together: sent to its host, and what it saved goes with it."""

from datetime import timedelta
from typing import Any

import pytest

from stead_controller.clock import now
from stead_controller.db.tables import HostResource, Instance
from stead_controller.hosts import reports
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2 as pb_host
from tests.api.conftest import Api


@pytest.fixture
def instance_id(api: Api) -> str:
    """A t3.micro."""
    image = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1}
    found: str = api.ec2.run_instances(InstanceType="t3.micro", **image)["Instances"][0]["InstanceId"]
    return found


def sent(api: Api, instance_id: str) -> pb.VolumesLimit | None:
    """What the instance's host has to know of all its volumes."""

    def read(tx: Any) -> pb.VolumesLimit | None:
        row = tx.session.query(HostResource).filter_by(kind=pb.KIND_MACHINE, resource_id=instance_id).one()
        machine = pb.Resource.FromString(row.body).machine
        return machine.volumes_limit if machine.HasField("volumes_limit") else None

    found: pb.VolumesLimit | None = api.run(read)
    return found


def stops(api: Api, instance_id: str, seconds: int, saved: tuple[int, int] | None) -> None:
    """Let it stop with so many thousandths saved, and be off for some time."""
    api.set_running(instance_id)
    api.ec2.stop_instances(InstanceIds=[instance_id])

    def set_back(tx: Any) -> int:
        row = tx.session.get(Instance, instance_id)
        row.state_changed = now() - timedelta(seconds=seconds)
        return int(row.start_count)

    left = None if saved is None else pb.SavedForVolumes(bytes=saved[0], operations=saved[1])
    start_count = api.run(set_back)
    machine = pb_host.MachineStatus(power=pb_host.MACHINE_POWER_OFF, start_count=start_count, saved_for_volumes=left)
    ready = pb_host.CONDITION_READY
    status = pb_host.ResourceStatus(kind=pb.KIND_MACHINE, id=instance_id, condition=ready, machine=machine)
    api.run(reports.apply_progress, [(api.world.host_id, [status])], now())
    api.run(set_back)


def test_hosts_are_sent_what_types_promise(api: Api, instance_id: str) -> None:
    full = pb.SavedForVolumes(bytes=1000, operations=1000)
    assert sent(api, instance_id) == pb.VolumesLimit(
        baseline_bytes=87 * 125_000,
        most_bytes=2085 * 125_000,
        baseline_operations=500,
        most_operations=11_800,
        saved=full,
    )
    stops(api, instance_id, 0, None)
    api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": "t2.micro"})
    api.ec2.start_instances(InstanceIds=[instance_id])
    assert sent(api, instance_id) is None


def test_what_a_stopped_instance_saved_goes_with_it_and_grows(api: Api, instance_id: str) -> None:
    stops(api, instance_id, 3600, (100, 200))
    api.ec2.start_instances(InstanceIds=[instance_id])
    limit = sent(api, instance_id)
    assert limit is not None
    # An hour off saves a baseline for an hour, of what half an hour at the maximum spends.
    grown = [3600 * 87 / (1800 * (2085 - 87)), 3600 * 500 / (1800 * (11_800 - 500))]
    assert limit.saved.bytes == pytest.approx(100 + 1000 * grown[0], abs=2)
    assert limit.saved.operations == pytest.approx(200 + 1000 * grown[1], abs=2)
    stops(api, instance_id, 86_400, (100, 200))
    api.ec2.start_instances(InstanceIds=[instance_id])
    limit = sent(api, instance_id)
    assert limit is not None
    assert limit.saved == pb.SavedForVolumes(bytes=1000, operations=1000)
