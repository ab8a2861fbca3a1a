"""Spot Instances in a running controller: notice is given, and a request that waits is fulfilled when one ends."""

import asyncio

import boto3
import grpc
import pytest

from stead_proto.v1 import compute_pb2 as compute
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.test_controller import DEADLINE, cloud

__all__ = ["cloud"]


async def sent_of(agent, instance_id):
    """What the host is sent about an instance, by the first state that has it."""
    while True:
        for item in (await agent.next_state()).resources:
            if item.id == instance_id:
                return item.machine.metadata


def client_of(cloud):
    root = cloud.credentials
    return boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{cloud.settings.http_port}",
        aws_access_key_id=root["access_key_id"],
        aws_secret_access_key=root["secret_access_key"],
    )


async def test_a_refused_launch_gives_a_spot_instance_notice(cloud):
    """The host has 8 GiB, which two of 4 GiB with what QEMU needs do not fit into."""
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    ec2 = client_of(cloud)
    asked = {"ImageId": image.image_id, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1}
    made = await asyncio.to_thread(ec2.run_instances, **asked, InstanceMarketOptions={"MarketType": "spot"})
    instance = made["Instances"][0]["InstanceId"]
    sent = await sent_of(agent, instance)
    assert (sent.spot, sent.interruption_time) == (True, 0)
    client = await cloud.compute()
    watch = client.Watch(compute.WatchRequest(instance_ids=[instance]), metadata=cloud.key)
    first = (await watch.read()).instance
    assert (first.spot, first.interruption_time) == (True, 0)
    assert (await watch.read()).synced
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="t3.medium")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.RunInstances(request, metadata=cloud.key)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "try again in two minutes" in refused.value.details()
    end = (await sent_of(agent, instance)).interruption_time
    assert end > 0
    async with asyncio.timeout(DEADLINE):
        event = (await watch.read()).instance
    assert (event.state, event.interruption_time) == ("pending", end)


async def test_a_request_that_waits_is_fulfilled_when_an_instance_ends_also_after_a_restart(cloud):
    """The host has room for one: a second waits for the end of the first, and a third for that of the second."""
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    ec2 = client_of(cloud)
    specification = {"ImageId": image.image_id, "InstanceType": "t3.medium"}
    made = [
        (await asyncio.to_thread(ec2.request_spot_instances, LaunchSpecification=specification))["SpotInstanceRequests"]
        for _ in range(3)
    ]
    assert [[one["State"] for one in call] for call in made] == [["active"], ["open"], ["open"]]
    first = made[0][0]["InstanceId"]
    await asyncio.to_thread(ec2.terminate_instances, InstanceIds=[first])
    await gone(agent, first)
    second = await fulfilled(ec2, made[1])
    assert (await sent_of(agent, second)).spot
    await cloud.restart()
    agent = await cloud.agent(identity)
    await agent.next_state()
    ec2 = client_of(cloud)
    await asyncio.to_thread(ec2.terminate_instances, InstanceIds=[second])
    await gone(agent, second)
    third = await fulfilled(ec2, made[2])
    assert len({first, second, third}) == 3


async def gone(agent, instance_id):
    """The host says that it has removed a machine."""
    status = pb.ResourceStatus(kind=desired.KIND_MACHINE, id=instance_id, condition=pb.CONDITION_ABSENT)
    await agent.stream.write(pb.HostReport(progress=pb.Progress(statuses=[status])))


async def fulfilled(ec2, made):
    """The instance of a request, once it has one."""
    [request_id] = [one["SpotInstanceRequestId"] for one in made]
    waiter = ec2.get_waiter("spot_instance_request_fulfilled")
    config = {"Delay": 0.1, "MaxAttempts": 100}
    await asyncio.to_thread(waiter.wait, SpotInstanceRequestIds=[request_id], WaiterConfig=config)
    shown = await asyncio.to_thread(ec2.describe_spot_instance_requests, SpotInstanceRequestIds=[request_id])
    return shown["SpotInstanceRequests"][0]["InstanceId"]
