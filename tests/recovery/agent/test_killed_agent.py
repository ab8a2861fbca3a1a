"""A real agent process over a simulated host whose guests outlive it: killed with -9, ended, restarted, left alone."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.simulated.world import Objects
from stead_agent.simulated.world_file import read
from stead_agent.wanted import HOST_NETWORK, Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.fake_controller import FakeController, HostSession
from tests.support.processes import BIN, Child
from tests.support.waiting import wait_for

HOST = "h-0123456789abcdef0"
MACHINE = Key(pb.KIND_MACHINE, "i-1")
LAUNCH_STEPS = 20  # ten calls of subsystems, each with a step before and after


@dataclass
class Lonely:
    """A controller, and the folder of one host with a certificate."""

    controller: FakeController
    folder: Path
    child: Child | None = None

    @property
    def world(self) -> Path:
        """Where the simulated kernel is stored."""
        return self.folder / "simulated-0001" / "world.pickle"

    def start(self, *, die_at: int = 0) -> Child:
        """Start the agent's process."""
        command: list[str | Path] = [
            BIN / "stead-agent",
            "simulate",
            f"--state-dir={self.folder}",
            f"--controller={self.controller.address}",
            "--hosts=1",
            "--keep",
            f"--die-at={die_at}",
        ]
        self.child = Child("agent", command, self.folder / "agent.log")
        self.child.start()
        return self.child

    def objects(self) -> Objects:
        """What exists on the host now."""
        return read(self.world, Objects())

    async def session(self, after: int) -> HostSession:
        """Wait for a session that comes after so many others."""
        await self.controller.until(lambda: self.controller.connections > after, "it is connected")
        return self.controller.sessions[HOST]

    async def settled(self, after: int) -> HostSession:
        """Wait until the agent has done all it was sent."""
        session = await self.session(after)
        sender = self.controller.sender(HOST)
        await self.controller.until(lambda: session.revision == sender.revision, f"{sender.revision} is reached")
        return session


@pytest.fixture
async def lonely(tmp_path: Path) -> AsyncIterator[Lonely]:
    """An enrolled host that does not run yet."""
    controller = FakeController()
    await controller.start()
    controller.authority.issue_host(HOST).save(tmp_path / "simulated-0001")
    lonely = Lonely(controller, tmp_path)
    yield lonely
    if lonely.child is not None:
        await asyncio.to_thread(lonely.child.kill)
    await controller.stop()


async def _ended(child: Child) -> int:
    assert child.process is not None
    return await asyncio.to_thread(child.process.wait, 20)


async def test_killed_while_a_guest_runs_the_guest_does_not_notice(lonely: Lonely) -> None:
    lonely.controller.sender(HOST).change(make.host_network(), *make.launch())
    child = lonely.start()
    await lonely.settled(0)
    await asyncio.to_thread(child.kill)
    lonely.start()
    session = await lonely.settled(1)
    assert session.hello.revision == 1
    assert session.statuses[MACHINE].machine.power == host_pb2.MACHINE_POWER_RUNNING
    guest = lonely.objects().guests["i-1"]
    assert (guest.power.value, guest.boots) == ("running", 1)
    assert lonely.objects().starts == {("i-1", 1): 1}
    assert lonely.objects().violations == []


async def test_asked_to_end_it_ends_at_once_and_leaves_its_guests(lonely: Lonely) -> None:
    lonely.controller.sender(HOST).change(make.host_network(), *make.launch())
    child = lonely.start()
    await lonely.settled(0)
    assert child.process is not None
    child.process.send_signal(signal.SIGTERM)
    assert await _ended(child) == 0
    assert lonely.objects().guests["i-1"].power.value == "running"


async def test_a_host_that_reboots_without_a_controller_starts_its_guests(lonely: Lonely) -> None:
    lonely.controller.sender(HOST).change(make.host_network(), *make.launch())
    child = lonely.start()
    await lonely.settled(0)
    await asyncio.to_thread(child.kill)
    await lonely.controller.stop()
    SimulatedHost(SteppedClock(), world_file=lonely.world).reboot()
    assert lonely.objects().guests["i-1"].power.value == "off"
    lonely.start()
    await asyncio.to_thread(
        wait_for, lambda: lonely.objects().guests["i-1"].power.value == "running", "the guest runs again"
    )
    assert lonely.objects().starts == {("i-1", 1): 2}
    assert set(lonely.objects().networks) == {"vpc-1"}


@pytest.mark.parametrize("step", range(1, LAUNCH_STEPS + 1, 3))
async def test_killed_at_a_step_of_a_launch_it_ends_as_wanted(lonely: Lonely, step: int) -> None:
    sender = lonely.controller.sender(HOST)
    sender.change(make.host_network(), *make.launch())
    child = lonely.start(die_at=step)
    assert await _ended(child) == -signal.SIGKILL
    connections = lonely.controller.connections
    lonely.start()
    session = await lonely.settled(connections)
    assert session.statuses[MACHINE].machine.power == host_pb2.MACHINE_POWER_RUNNING
    assert lonely.objects().starts == {("i-1", 1): 1}
    session.send(sender.change(gone=tuple(key for key in sender.resources if key != HOST_NETWORK)))
    await lonely.controller.until(lambda: session.revision == sender.revision, "all is gone")
    objects = lonely.objects()
    left = (objects.networks, objects.firewalls, objects.dhcps, objects.volumes, objects.bases, objects.guests)
    assert [each for each in left if each] == []
    assert objects.violations == []
