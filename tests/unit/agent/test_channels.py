"""Channels to a controller that is away, and comes back."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from stead_agent import channels as agent_channels
from stead_agent.channels import Channels
from stead_proto.tls import Identity
from stead_proto.v1 import host_pb2, host_pb2_grpc
from tests.support.fake_controller import FakeController
from tests.support.processes import free_ports


@pytest.fixture
async def channels() -> AsyncIterator[Channels]:
    """None yet."""
    channels = Channels()
    yield channels
    await channels.close()


@pytest.fixture
def identity() -> Identity:
    """A host's."""
    return FakeController().authority.issue_host("h-1")


async def _tried(channels: Channels, address: str, identity: Identity, *, keep: bool = True) -> grpc.aio.Channel:
    """Try in vain to reach a controller; return the channel."""
    channel, _ = await channels.to(address, identity, watchful=False)
    with pytest.raises(Exception, match="UNAVAILABLE"):
        await host_pb2_grpc.HostLinkStub(channel).RenewCertificate(host_pb2.RenewCertificateRequest())
    await channels.give_back(address, identity, channel, keep=keep)
    return channel


async def test_one_that_could_not_connect_is_used_again(channels: Channels, identity: Identity) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    first = await _tried(channels, address, identity)
    assert await _tried(channels, address, identity) is first
    assert await _tried(channels, address, FakeController().authority.issue_host("h-1")) is not first, "is renewed"


async def test_not_where_nobody_wants_it_or_for_long(
    channels: Channels, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    first = await _tried(channels, address, identity, keep=False)
    monkeypatch.setattr(agent_channels, "_PATIENCE", 0.0)
    second = await _tried(channels, address, identity)
    assert second is not first
    assert await _tried(channels, address, identity) is not second


async def test_one_that_is_connected_is_closed(channels: Channels) -> None:
    controller = FakeController()
    await controller.start()
    identity = controller.authority.issue_host("h-1")
    channel, _ = await channels.to(controller.address, identity, watchful=False)
    await channel.channel_ready()
    await channels.give_back(controller.address, identity, channel, keep=True)
    assert (await channels.to(controller.address, identity, watchful=False))[0] is not channel
    await controller.stop()


async def _lost(channels: Channels, controller: FakeController, identity: Identity) -> grpc.aio.Channel:
    """Lose the connection to a controller, which ends; return its channel, which is kept."""
    channel, _ = await channels.to(controller.address, identity, watchful=False)
    await channel.channel_ready()
    await controller.stop()
    while (state := channel.get_state()) is not grpc.ChannelConnectivity.IDLE:
        await asyncio.wait_for(channel.wait_for_state_change(state), 20)
    await channels.give_back(controller.address, identity, channel, keep=True)
    return channel


@pytest.mark.parametrize("alone", [True, False])
async def test_one_that_has_lost_its_connection_waits_and_connects_again(
    channels: Channels, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    monkeypatch.setattr(agent_channels, "_PATIENCE", 240.0)
    longest = [240.0, 240.0]
    monkeypatch.setattr(agent_channels, "_RESTART_SECONDS", longest)
    controller = FakeController()
    await controller.start()
    address, identity = controller.address, controller.authority.issue_host("h-1")
    channel = await _lost(channels, controller, identity)
    await controller.start()
    waiting = asyncio.create_task(channels.wait(address, 0.0 if alone else 240.0, alone=alone))
    assert await asyncio.wait({waiting}, timeout=0.1) == (set(), {waiting}), "others connect"
    assert channel.get_state() is grpc.ChannelConnectivity.IDLE
    waiting.cancel()
    if alone:
        longest[:] = 0.0, 0.0
    await asyncio.wait_for(channels.wait(address, 240.0 if alone else 0.0, alone=alone), 60)
    same, patience = await channels.to(address, identity, watchful=not alone)
    assert same is channel
    assert (patience > 200) is alone, "a call waits for the only controller"
    await asyncio.wait_for(channel.channel_ready(), 60)
    await channel.close()
    await controller.stop()


async def test_a_new_one_is_not_waited_for(channels: Channels, identity: Identity) -> None:
    channel, patience = await channels.to(f"127.0.0.1:{free_ports(1)[0]}", identity, watchful=False)
    assert patience == 0
    await channel.close()


async def test_those_that_are_kept_are_closed_at_the_end(identity: Identity) -> None:
    channels = Channels()
    kept = await _tried(channels, f"127.0.0.1:{free_ports(1)[0]}", identity)
    await channels.close()
    assert kept.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_another_controller_is_tried_meanwhile(
    channels: Channels, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_channels, "_PATIENCE", 240.0)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    await _tried(channels, address, identity)
    await asyncio.wait_for(channels.wait(address, 0.05, alone=False), 20)
    await asyncio.wait_for(channels.wait("unknown.invalid:1", 0.05, alone=True), 20)
