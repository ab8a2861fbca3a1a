"""Many simulated hosts in one process, each with an agent of its own over real gRPC and TLS."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from stead_agent import enrol, fleet_control
from stead_agent.agent import Agent
from stead_agent.controllers import Controllers
from stead_agent.desired import ForgetfulStore, SqliteStore, Store
from stead_agent.link import Dialling
from stead_agent.logs import Log
from stead_agent.reconcile.prepare import Habits
from stead_agent.simulated.clock import RealClock
from stead_agent.simulated.host import SimulatedHost, simulated_core, simulated_device
from stead_agent.simulated.machines import Durations
from stead_proto import tls
from stead_proto.tls import Identity

_log = Log(__name__)

_ENROLLING_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """How many hosts, how large, and how they find the controller."""

    state_dir: Path
    hosts: int
    controllers: tuple[str, ...]
    version: str
    enrolment: str = ""
    ca_pem: bytes = b""
    cpus: int = 64
    memory: int = 256 << 30
    disk: int = 4096 << 30
    devices: tuple[str, ...] = ()  # models of PCI devices, one device each, that guests of each host may have
    whole_cores: int = 0  # of two threads, that guests of each host may have alone
    durations: Durations | None = None
    keep: bool = False  # worlds and desired states are files that outlive the process
    control: Path | None = None  # unix socket on which another process may trigger events
    die_at: int = 0  # the process kills itself at this step of its work: before or after some call of a subsystem


class Fleet:
    """The hosts; `enrol` creates them, and they work while `run` does."""

    def __init__(self, plan: FleetPlan) -> None:
        self._plan = plan
        self.hosts: dict[str, SimulatedHost] = {}
        self.agents: dict[str, Agent] = {}

    async def enrol(self, tokens: Sequence[str]) -> None:
        """Get certificates for the hosts that have none in the state directory, one token each."""
        left = iter(tokens)
        slots = asyncio.Semaphore(_ENROLLING_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for directory in self._directories():
                if _is_enrolled(directory):
                    continue
                token = next(left, None)
                if token is None:
                    raise enrol.EnrolmentError(f"no token left to enrol {directory.name}")
                tasks.create_task(self._enrol_one(directory, token, slots))

    async def _enrol_one(self, directory: Path, token: str, slots: asyncio.Semaphore) -> None:
        async with slots:
            await enrol.enrol(self._plan.enrolment, self._plan.ca_pem, token, directory, directory.name)

    async def run(self) -> None:
        """Run all hosts until cancelled."""
        clock = RealClock(asyncio.get_running_loop())
        server = await fleet_control.serve(self._plan.control, self.hosts) if self._plan.control else None
        async with asyncio.TaskGroup() as tasks:
            for directory in self._directories():
                host_id = _identity(directory).peer.name
                self.hosts[host_id], self.agents[host_id] = self._make(directory, clock)
                tasks.create_task(self.agents[host_id].run())
                await asyncio.sleep(0)
            _log.info("fleet_runs", hosts=len(self.hosts), control=server is not None)

    def _make(self, directory: Path, clock: RealClock) -> tuple[SimulatedHost, Agent]:
        plan = self._plan
        host = SimulatedHost(
            clock,
            hostname=directory.name,
            cpus=plan.cpus,
            memory=plan.memory,
            disk=plan.disk,
            world_file=directory / "world.pickle" if plan.keep else None,
            durations=plan.durations,
        )
        host.devices = [simulated_device(number, model) for number, model in enumerate(plan.devices, 1)]
        host.whole_cores = [simulated_core(number) for number in range(plan.whole_cores)]
        if plan.die_at:
            host.world.watcher = _Killer(plan.die_at).watch
        store: Store = SqliteStore(directory / "desired.sqlite") if plan.keep else ForgetfulStore()
        identity: Callable[[], Identity] = partial(_identity, directory)
        dialling = Dialling(Controllers(plan.controllers), identity, plan.version, directory)
        return host, Agent(host.subsystems, store, host, dialling, habits=Habits())

    def _directories(self) -> Iterator[Path]:
        for number in range(1, self._plan.hosts + 1):
            yield self._plan.state_dir / f"simulated-{number:04}"


class _Killer:
    """Ends the process as kill -9 does, at the given step."""

    def __init__(self, step: int) -> None:
        self._left = step

    def watch(self, name: str, subject: str, done: bool) -> None:
        """Count a step."""
        self._left -= 1
        if self._left == 0:
            _log.warning("dies_as_asked", call=name, subject=subject, done=done)
            os.kill(os.getpid(), signal.SIGKILL)


def _identity(directory: Path) -> Identity:
    return Identity.load(directory)


def _is_enrolled(directory: Path) -> bool:
    try:
        _identity(directory)
    except tls.NoIdentityError:
        return False
    return True
