"""A whole controller whose database was put back from a copy: what hosts keep of the time since is nobody else's."""

import asyncio
import contextlib
import sqlite3
from dataclasses import replace

import pytest

from stead_proto.v1 import compute_pb2 as compute
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from stead_proto.v1 import operator_pb2 as operator
from stead_proto.v1 import operator_pb2_grpc
from tests.unit.controller.blocks.test_image_files import make_empty
from tests.unit.controller.test_controller import DEADLINE, cloud

__all__ = ["cloud"]


def a_day_older(copy, file):
    """Return a copy of a database in which all reports of hosts are a day older."""
    file.write_bytes(copy)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE hosts SET last_seen = last_seen - 86400000")
        connection.commit()
    return file.read_bytes()


@pytest.mark.story
async def test_a_launch_waits_for_hosts_if_the_database_may_be_an_older_copy(cloud, tmp_path):
    image = await cloud.import_image(bytes(make_empty(1 << 29)))
    _, identity = await cloud.enrol()
    request = compute.RunInstancesRequest(image_id=image.image_id, instance_type="stead.tiny")

    async def launch():
        return await (await cloud.compute()).RunInstances(request, metadata=cloud.key)

    def interface_of(state):
        [eni] = [item for item in state.resources if item.HasField("interface")]
        return eni

    agent = await cloud.agent(identity)
    await agent.next_state()
    await cloud.controller.stop()
    copy = (cloud.settings.state_dir / "stead.sqlite").read_bytes()
    await cloud.restart()
    agent = await cloud.agent(identity)
    await agent.next_state()
    await launch()
    seen = await agent.next_state()
    newer = interface_of(seen)
    cloud.settings = replace(cloud.settings, host_timeout_seconds=3600)  # so that no time ends the wait
    await cloud.put_back(a_day_older(copy, tmp_path / "older.sqlite"))
    launching = asyncio.create_task(launch())
    async with asyncio.timeout(DEADLINE):
        known = await (await cloud.compute()).DescribeInstances(compute.DescribeInstancesRequest(), metadata=cloud.key)
    assert not known.instances, "what only reads is answered at once"
    agent = await cloud.agent(identity, seen.revision, seen.epoch)
    state = await agent.next_state()
    assert state.older
    has = pb.Unclaimed(subnet_id=newer.interface.subnet_id, private_addresses=[newer.interface.private_address])
    unclaimed = pb.ResourceStatus(
        kind=desired.KIND_INTERFACE, id=newer.id, condition=pb.CONDITION_UNCLAIMED, unclaimed=has
    )
    await agent.stream.write(pb.HostReport(progress=pb.Progress(revision=state.revision - 1)))
    assert not launching.done()
    await agent.stream.write(pb.HostReport(progress=pb.Progress(revision=state.revision, statuses=[unclaimed])))
    async with asyncio.timeout(DEADLINE):
        await launching
    other = interface_of(await agent.next_state())
    assert other.interface.subnet_id == newer.interface.subnet_id
    assert other.interface.private_address != newer.interface.private_address


@pytest.mark.story
async def test_an_older_database_is_noticed_by_a_host_that_asks_for_all(cloud, tmp_path):
    """An agent that was sent a kind it did not know asks for all again, and may have what the copy lacks."""
    _, identity = await cloud.enrol()
    await cloud.controller.stop()
    copy = (cloud.settings.state_dir / "stead.sqlite").read_bytes()
    await cloud.restart()
    agent = await cloud.agent(identity)
    seen = await agent.next_state()
    await cloud.put_back(a_day_older(copy, tmp_path / "older.sqlite"))
    agent = await cloud.agent(identity, 0, seen.epoch, known=seen.revision)
    state = await agent.next_state()
    assert (state.full, state.older) == (True, True)
    await cloud.restart()
    agent = await cloud.agent(identity, 0, state.epoch, known=state.revision)
    again = await agent.next_state()
    assert (again.full, again.older) == (True, False)


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
        while not (await hosts.ListHosts(operator.ListHostsRequest())).hosts[0].unclaimed:
            pass
    other, _ = await launch(agent)
    assert other.interface.subnet_id == newer.interface.subnet_id
    assert other.interface.private_address != newer.interface.private_address
