"""A host that hears of a second controller notices from then on within two seconds that its own is gone."""

import grpc
import pytest

from stead_proto import tls
from stead_proto.tls import Identity
from stead_proto.v1 import host_pb2
from tests.support.fake_controller import FakeController
from tests.unit.agent.test_link import Rig, controller, rig

__all__ = ["controller", "rig"]


async def test_who_is_told_of_a_second_controller_watches_its_own_from_then_on(
    rig: Rig, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, channel_to = list[bool](), tls.channel_to_controller

    def noted(address: str, identity: Identity, *, watchful: bool = False) -> grpc.aio.Channel:
        watched.append(watchful)
        return channel_to(address, identity, watchful=watchful)

    monkeypatch.setattr(tls, "channel_to_controller", noted)
    rig.start()
    session = await rig.session()
    port = controller.address.rpartition(":")[2]
    told = host_pb2.Throttle(heartbeat_seconds=60, controllers=[controller.address, f"localhost:{port}"])
    session.outgoing.put_nowait(host_pb2.HostUpdate(throttle=told))
    again = await rig.session(after=1)
    assert watched == [False, True]
    told.controllers.append(f"ip6-localhost:{port}")
    again.outgoing.put_nowait(host_pb2.HostUpdate(throttle=told))
    again.ask(host_pb2.Question(id=1))
    await controller.until(lambda: 1 in again.answers, "it is still there")
    assert controller.connections == 2
