"""A whole controller whose database was put back from a copy: what hosts keep of the time since is nobody else's."""

import asyncio

from stead_proto.v1 import compute_pb2 as compute
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import operator_pb2 as operator
from stead_proto.v1 import operator_pb2_grpc
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.test_controller import DEADLINE, cloud

__all__ = ["cloud"]


async def test_addresses_of_what_an_older_database_does_not_know_are_not_given_again(cloud):
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny")

    async def launch(agent):
        await (await cloud.compute()).RunInstances(request, metadata=cloud.key)
        state = await agent.next_state()
        [eni] = [item for item in state.resources if item.HasField("interface")]
        return eni, state

    await cloud.controller.stop()
    copy = (cloud.settings.state_dir / "stead.sqlite").read_bytes()
    await cloud.restart()
    agent = await cloud.agent(identity)
    await agent.next_state()
    newer, seen = await launch(agent)
    await cloud.put_back(copy)
    agent = await cloud.agent(identity, seen.revision, seen.epoch)
    state = await agent.next_state()
    has = pb.Unclaimed(
        subnet_id=newer.interface.subnet_id,
        mac_address=newer.interface.mac_address,
        private_addresses=[newer.interface.private_address],
    )
    unclaimed = pb.ResourceStatus(
        kind=desired.KIND_INTERFACE, id=newer.id, condition=pb.CONDITION_UNCLAIMED, unclaimed=has
    )
    await agent.stream.write(pb.HostReport(progress=pb.Progress(revision=state.revision, statuses=[unclaimed])))
    hosts = operator_pb2_grpc.HostsStub(await cloud.operator())
    async with asyncio.timeout(DEADLINE):
        while not (await hosts.ListHosts(operator.ListHostsRequest())).hosts[0].errors:
            pass
    other, _ = await launch(agent)
    assert other.interface.subnet_id == newer.interface.subnet_id
    assert other.interface.private_address != newer.interface.private_address
