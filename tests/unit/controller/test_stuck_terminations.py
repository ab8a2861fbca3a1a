"""A whole controller begins again with instances whose end an earlier release forgot."""

from sqlalchemy import select

from stead_controller.db.tables import HostResource
from stead_proto.v1 import compute_pb2 as compute
from stead_proto.v1 import desired_pb2 as desired
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.test_controller import cloud

__all__ = ["cloud"]


async def test_hosts_are_asked_again_to_remove_machines(cloud):
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    stub = await cloud.compute()
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny")
    [instance] = (await stub.RunInstances(request, metadata=cloud.key)).instances
    [had] = [each for each in (await agent.next_state()).resources if each.id == instance.instance_id]
    await stub.TerminateInstances(compute.InstanceIds(instance_ids=[instance.instance_id]), metadata=cloud.key)
    assert (await agent.next_state()).removals

    def take_back(tx):
        row = select(HostResource).where(HostResource.resource_id == had.id, HostResource.kind == desired.KIND_MACHINE)
        tx.session.scalars(row).one().body = had.SerializeToString()

    await cloud.controller.database.run(take_back)
    await cloud.restart()
    agent = await cloud.agent(identity)
    state = await agent.next_state()
    assert had.id in {each.id for each in state.removals}
    assert had.id not in {each.id for each in state.resources}
