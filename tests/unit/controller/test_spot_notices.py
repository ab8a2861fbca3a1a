"""A launch that is refused over gRPC gives a Spot Instance notice: its host is sent it, and watchers see it."""

import asyncio

import boto3
import grpc
import pytest

from stead_proto.v1 import compute_pb2 as compute
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.test_controller import DEADLINE, cloud

__all__ = ["cloud"]


async def sent_of(agent, instance_id):
    """What the host is sent about an instance, by the first state that has it."""
    while True:
        for item in (await agent.next_state()).resources:
            if item.id == instance_id:
                return item.machine.metadata


async def test_a_refused_launch_gives_a_spot_instance_notice(cloud):
    """The host has 8 GiB, which two of 4 GiB with what QEMU needs do not fit into."""
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    root = cloud.credentials
    ec2 = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{cloud.settings.http_port}",
        aws_access_key_id=root["access_key_id"],
        aws_secret_access_key=root["secret_access_key"],
    )
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
