"""When an agent keeps the channel to a controller that is away: with a real link, whose channels are noted."""

import asyncio
from pathlib import Path

import grpc
import pytest

from stead_agent import channels, link
from stead_proto.tls import Identity
from tests.support.fake_controller import FakeController
from tests.support.processes import free_ports
from tests.support.waiting import wait_for
from tests.unit.agent.test_link import Rig


class Noted(channels.Channels):
    """Notes what it is told: whether a channel is to be kept, whether its controller is the only one, and the end."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: list[grpc.aio.Channel] = []
        self.kept: list[bool] = []
        self.alone: list[bool] = []
        self.waits = asyncio.Event()
        self.closed = asyncio.Event()

    async def give_back(self, address: str, identity: Identity, channel: grpc.aio.Channel, *, keep: bool) -> None:
        self.channels.append(channel)
        self.kept.append(keep)
        await super().give_back(address, identity, channel, keep=keep)

    async def wait(self, address: str, seconds: float, *, alone: bool) -> None:
        self.alone.append(alone)
        self.waits.set()
        await super().wait(address, seconds, alone=alone)

    async def close(self) -> None:
        await super().close()
        self.closed.set()


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """The channels of the next link."""
    noted = Noted()
    monkeypatch.setattr(link, "Channels", lambda: noted)
    return noted


@pytest.mark.parametrize(("quick", "others"), [(60.0, 0), (60.0, 1), (0.0, 0)])
async def test_a_channel_is_kept_as_long_as_its_controller_is_expected_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: Noted, quick: float, others: int
) -> None:
    monkeypatch.setattr(link, "_QUICK_SECONDS", quick)
    rig = Rig(FakeController(), tmp_path)
    rig.start(addresses=tuple(f"127.0.0.1:{port}" for port in free_ports(1 + others)))
    await asyncio.wait_for(noted.waits.wait(), 20)
    await rig.stop()
    assert noted.kept[0] is (quick > 0)
    assert noted.alone[0] is (others == 0)
    assert noted.closed.is_set()


async def test_the_channel_of_a_session_that_broke_is_kept_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: Noted
) -> None:
    monkeypatch.setattr(link, "_QUICK_SECONDS", 0.0)  # the last session before this one is long ago
    controller = FakeController()
    await controller.start()
    rig = Rig(controller, tmp_path)
    rig.start()
    await rig.session()
    await controller.stop()
    await asyncio.wait_for(noted.waits.wait(), 20)
    assert noted.kept[0] is True
    await rig.stop()


async def test_those_of_other_controllers_are_closed_once_a_session_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: Noted
) -> None:
    """It would be tried for as long as the session lasts, and with authorities that are not trusted there any more."""
    monkeypatch.setattr(link.random.Random, "choice", lambda _self, addresses: addresses[0])
    controller = FakeController()
    await controller.start()
    rig = Rig(controller, tmp_path)
    rig.start(addresses=(f"127.0.0.1:{free_ports(1)[0]}", controller.address))
    await rig.session()
    await asyncio.wait_for(noted.closed.wait(), 20)
    assert noted.kept == [True]
    assert noted.channels[0].get_state() is grpc.ChannelConnectivity.SHUTDOWN
    await rig.stop()
    await controller.stop()


async def test_the_next_call_waits_on_the_channel_of_a_controller_that_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: Noted
) -> None:
    monkeypatch.setattr(channels, "_PATIENCE", 240.0)
    controller = FakeController()
    await controller.start()
    rig = Rig(controller, tmp_path)
    rig.start()
    await rig.session()
    await controller.stop()
    await asyncio.wait_for(noted.waits.wait(), 20)
    await controller.start()
    await rig.session()
    await rig.stop()
    assert len(noted.channels) == 2
    assert noted.channels[0] is noted.channels[1]
    await controller.stop()


async def test_the_only_one_is_not_waited_for_longer_than_its_channel_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: Noted, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channels, "_PATIENCE", 0.1)
    rig = Rig(FakeController(), tmp_path)
    rig.start(addresses=(f"127.0.0.1:{free_ports(1)[0]}",))

    def reasons() -> list[str]:
        said = [vars(each).get("stead_fields", {}).get("reason", "") for each in caplog.records]
        return [each.partition(" ")[0] for each in said if each]

    with caplog.at_level("DEBUG"):
        await asyncio.to_thread(wait_for, lambda: len(reasons()) > 3, "it has tried in vain", 30)
    await rig.stop()
    assert reasons()[:3] == ["UNAVAILABLE:", "no", "UNAVAILABLE:"]
    assert len(set(map(id, noted.channels[:3]))) == 2, "one that waited in vain is closed"
