"""A launch that is refused over gRPC gives a Spot Instance notice, and its host is sent it."""

import asyncio

import boto3
import grpc
import pytest

from stead_proto.v1 import compute_pb2 as compute
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.test_controller import cloud

__all__ = ["cloud"]


async def test_a_refused_launch_gives_a_spot_instance_notice_on_its_host(cloud):
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
    sent = {item.id: item for item in (await agent.next_state()).resources}
    assert (sent[instance].machine.metadata.spot, sent[instance].machine.metadata.interruption_time) == (True, 0)
    client = await cloud.compute()
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="t3.medium")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.RunInstances(request, metadata=cloud.key)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "try again in two minutes" in refused.value.details()
    [item] = [item for item in (await agent.next_state()).resources if item.id == instance]
    assert item.machine.metadata.interruption_time > 0
