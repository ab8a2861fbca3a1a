"""The link over real gRPC and TLS to a controller in the same process."""

import asyncio
import concurrent.futures
import datetime as dt
import logging
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from stead_agent import channels, link
from stead_agent.agent import Agent
from stead_agent.controllers import Controllers
from stead_agent.desired import SqliteStore, Store, StoreError
from stead_agent.link import Dialling
from stead_agent.network.interface import NetworkError
from stead_agent.reconcile import loop
from stead_agent.simulated.clock import RealClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.wanted import HOST_NETWORK, SHARED_KINDS, Change, Key, Wanted, after_removal, change_of
from stead_proto import limits, tls
from stead_proto.certificates import Authority
from stead_proto.tls import Identity
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.fake_controller import FakeController, HostSession
from tests.support.simulated_agent import MemoryStore
from tests.support.waiting import wait_for

HOST = "h-0123456789abcdef0"
MACHINE = Key(pb.KIND_MACHINE, "i-1")
IMAGE = Key(pb.KIND_BASE, "snap-1")


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    """A listening controller."""
    controller = FakeController()
    await controller.start()
    yield controller
    await controller.stop()


@dataclass
class Rig:
    """Runs agents of simulated hosts and ends them with the test."""

    controller: FakeController
    folder: Path
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    pools: list[concurrent.futures.ThreadPoolExecutor] = field(default_factory=list)

    def start(
        self,
        *,
        identity: Identity | None = None,
        store: Store | None = None,
        host: SimulatedHost | None = None,
        threads: bool = False,
        addresses: tuple[str, ...] = (),
        renews: bool = False,
        measure_seconds: float = 60,
    ) -> tuple[Agent, SimulatedHost]:
        """Start an agent."""
        host = host or SimulatedHost(RealClock(asyncio.get_running_loop()))
        mine = identity or self.controller.authority.issue_host(HOST)
        mine.save(self.folder)
        pool = concurrent.futures.ThreadPoolExecutor(4) if threads else None
        if pool is not None:
            self.pools.append(pool)
        dialling = Dialling(
            Controllers(addresses or (self.controller.address,)),
            lambda: Identity.load(self.folder),
            "1.2.3",
            self.folder if renews else None,
        )
        agent = Agent(
            host.subsystems,
            store or MemoryStore(),
            host,
            dialling,
            threads=pool,
            question_threads=pool,
            measure_seconds=measure_seconds,
        )
        self.tasks.append(asyncio.create_task(agent.run()))
        return agent, host

    async def stop(self) -> None:
        """End all agents."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        for pool in self.pools:
            pool.shutdown()

    async def session(self, *, after: int = 0) -> HostSession:
        """Wait for the session of the host; `after` = sessions there were before."""
        controller = self.controller
        await controller.until(
            lambda: controller.connections > after and HOST in controller.sessions, "it is connected"
        )
        return controller.sessions[HOST]


@pytest.fixture
async def rig(controller: FakeController, tmp_path: Path) -> AsyncIterator[Rig]:
    """Starts agents that dial `controller`."""
    rig = Rig(controller, tmp_path)
    yield rig
    await rig.stop()


def _own(controller: FakeController) -> set[Key]:
    """What is reported when all is well: not the parts that all hosts of a VPC have."""
    return {key for key in controller.sender(HOST).resources if key.kind not in SHARED_KINDS}


def _is(session: HostSession, key: Key, condition: "host_pb2.Condition.ValueType", revision: int) -> bool:
    status = session.statuses.get(key)
    return status is not None and status.condition == condition and status.revision == revision


async def _ready(controller: FakeController, session: HostSession, key: Key, revision: int) -> None:
    await controller.until(
        lambda: _is(session, key, host_pb2.CONDITION_READY, revision), f"{key} is ready at {revision}"
    )


async def test_hello_has_the_facts_of_the_host(rig: Rig) -> None:
    rig.start()
    session = await rig.session()
    assert session.host_id == HOST
    assert session.hello.revision == 0
    assert session.hello.agent_version == "1.2.3"
    assert session.hello.facts.simulated
    assert session.hello.facts.cpus == 64


async def test_a_launch_is_made_true_and_reported(rig: Rig, controller: FakeController) -> None:
    _, host = rig.start()
    session = await rig.session()
    session.send(controller.sender(HOST).change(make.host_network(), *make.launch()))
    await controller.until(lambda: session.revision == 1, "revision 1 is reached")
    assert {key: each.condition for key, each in session.statuses.items()} == dict.fromkeys(
        _own(controller), host_pb2.CONDITION_READY
    )
    assert host.running() == {"i-1"}
    host.power_off_guest("i-1")
    await controller.until(
        lambda: session.statuses[MACHINE].machine.off_reason == host_pb2.OFF_REASON_GUEST, "the guest's end is reported"
    )


async def test_after_a_controllers_restart_the_agent_is_back_quickly_and_says_all_again(
    rig: Rig, controller: FakeController, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "_PATIENCE", 0.1)
    caplog.set_level(logging.DEBUG, link.__name__)
    rig.start()
    controller.sender(HOST).change(make.host_network(), *make.launch())
    session = await rig.session()
    await _ready(controller, session, MACHINE, 1)
    await controller.stop()
    controller.sender(HOST).change(make.group(port=80))

    def pauses() -> list[float]:
        return [
            vars(each)["stead_fields"]["retry_seconds"] for each in caplog.records if each.message == "controller_away"
        ]

    await asyncio.to_thread(wait_for, lambda: len(pauses()) > 4, "it has tried in vain for some time")
    assert max(pauses()) <= 0.5, "of one that never had a session it would be more and more"
    await controller.start()
    again = await rig.session(after=1)
    assert again.hello.revision == 1
    await controller.until(lambda: again.revision == 2, "revision 2 is reached")
    assert again.statuses.keys() == _own(controller)


async def test_measurements_are_sent_until_they_are_stored(
    rig: Rig, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, _ = rig.start()
    first = await rig.session()
    for number in range(3):
        agent.measurements.put(host_pb2.Measurements(measured=[host_pb2.Measured(id=f"i-{number}")]))
    await controller.until(lambda: bool(first.measured), "the first is sent")
    first.stored(1)
    await controller.until(lambda: len(first.measured) == 2, "the second is sent, once the first is stored")
    first.end()
    again = await rig.session(after=1)
    await controller.until(lambda: bool(again.measured), "the second is sent again in the next session")
    monkeypatch.setattr(link, "_UNSTORED_SECONDS", 0.1)
    again.stored(2)
    await controller.until(lambda: len(again.measured) >= 4, "the third is sent again, since nobody stores it")
    again.stored(3)
    assert [[each.id for each in message.measured] for message in again.measured[:4]] == [["i-1"], *[["i-2"]] * 3]


async def test_all_guests_are_measured_after_each_period(rig: Rig, controller: FakeController) -> None:
    host = SimulatedHost(RealClock(asyncio.get_running_loop()))
    rig.start(host=host, measure_seconds=0.5)
    session = await rig.session()
    *others, machine = make.launch()
    machine.machine.metadata.monitoring = True
    session.send(controller.sender(HOST).change(make.host_network(), *others, machine))
    await _ready(controller, session, MACHINE, 1)
    host.counters.set_load("i-1", 0.5)

    def loads() -> list[float]:
        for message in session.measured:
            session.stored(message.number)
        found = [each for message in session.measured for each in message.measured if each.id == "i-1"]
        return [each.values[0] for each in found if each.metrics[:1] == [host_pb2.METRIC_PROCESSORS]]

    await controller.until(lambda: loads()[-1:] == [pytest.approx(50, abs=5)], "a half of its vCPUs is seen")
    found = [each for message in session.measured for each in message.measured if each.id == "i-1"]
    assert all(each.at % 500 == 0 for each in found)


async def test_a_restarted_agent_goes_on_from_what_it_stored(
    rig: Rig, controller: FakeController, tmp_path: Path
) -> None:
    controller.sender(HOST).change(make.host_network(), *make.launch())
    store = SqliteStore(tmp_path / "desired.sqlite")
    _, host = rig.start(store=store)
    await _ready(controller, await rig.session(), MACHINE, 1)
    await rig.stop()
    store.close()
    controller.sender(HOST).change(gone=(MACHINE,))
    host.restart_agent()
    store = SqliteStore(tmp_path / "desired.sqlite")
    rig.start(store=store, host=host)
    session = await rig.session(after=1)
    assert (session.hello.revision, session.hello.desired_epoch) == (1, "epoch-1")
    await controller.until(lambda: _is(session, MACHINE, host_pb2.CONDITION_ABSENT, 2), "the machine's end is reported")
    assert host.running() == set()
    await rig.stop()
    store.close()
    rig.start(store=SqliteStore(tmp_path / "desired.sqlite"), host=host)  # what is gone is said again by the next one
    again = await rig.session(after=2)
    await controller.until(lambda: _is(again, MACHINE, host_pb2.CONDITION_ABSENT, 2), "its end is reported again")


async def test_another_epoch_makes_the_agent_ask_for_all_and_remove_nothing(
    rig: Rig, controller: FakeController
) -> None:
    controller.sender(HOST).change(make.host_network(), *make.launch())
    controller.sender(HOST).change(make.group(port=80))
    _, host = rig.start()
    session = await rig.session()
    await controller.until(lambda: session.revision == 2, "revision 2 is reached")
    controller.senders[HOST] = restored = make.Sender("epoch-2")
    session.send(restored.change(make.host_network(), *make.launch("2")))  # a delta: it must ask for all
    session = await rig.session(after=1)
    await _ready(controller, session, Key(pb.KIND_MACHINE, "i-2"), 1)
    await controller.until(lambda: session.revision == 1, "revision 1 is reached")
    assert host.running() == {"i-1", "i-2"}
    await controller.until(lambda: _is(session, MACHINE, host_pb2.CONDITION_UNCLAIMED, 1), "it reports what it has")


async def test_an_agent_with_a_later_revision_asks_for_all(rig: Rig, controller: FakeController) -> None:
    controller.sender(HOST).change(make.host_network())
    agent, _ = rig.start()
    session = await rig.session()
    session.send(host_pb2.DesiredState(revision=1, epoch="epoch-1", resources=[pb.Resource(id="nat-1", revision=1)]))
    await asyncio.to_thread(wait_for, lambda: agent.reconciler.wanted.is_partial, "it has heard")
    session.end()
    again = await rig.session(after=1)
    assert (again.hello.revision, again.hello.known_revision) == (0, 1)


async def test_heartbeats_come_as_often_as_throttled(tmp_path: Path) -> None:
    controller = FakeController(heartbeat_seconds=1)
    await controller.start()
    rig = Rig(controller, tmp_path)
    began = time.monotonic()
    rig.start()
    session = await rig.session()
    await controller.until(lambda: session.heartbeats >= 2, "two heartbeats came", 18)  # by itself in 20 s
    assert session.heartbeats <= time.monotonic() - began + 1
    await rig.stop()
    await controller.stop()


async def test_questions_are_answered_side_by_side(rig: Rig, controller: FakeController) -> None:
    controller.sender(HOST).change(make.host_network(), *make.launch())
    rig.start(threads=False)
    session = await rig.session()
    await _ready(controller, session, MACHINE, 1)
    console = host_pb2.ConsoleOutputQuestion(machine_id="i-1", last_bytes=65536)
    session.ask(host_pb2.Question(id=7, console_output=console))
    session.ask(host_pb2.Question(id=8, screenshot=host_pb2.ScreenshotQuestion(machine_id="i-1")))
    session.ask(host_pb2.Question(id=9, screenshot=host_pb2.ScreenshotQuestion(machine_id="i-404")))
    session.ask(host_pb2.Question(id=10))
    await controller.until(lambda: session.answers.keys() >= {7, 8, 9, 10}, "all are answered")
    assert session.answers[7].content == b"simulated i-1: start 1, boot 1\r\n"
    assert session.answers[7].taken_at > 1_700_000_000_000
    assert session.answers[8].content.startswith(b"\x89PNG")
    assert session.answers[9].error == "there is no i-404"
    assert session.answers[10].error == "this agent does not know the question"


async def test_the_next_address_is_tried(rig: Rig, controller: FakeController) -> None:
    rig.start(addresses=("127.0.0.1:1", controller.address))
    await rig.session()


@pytest.mark.parametrize("which", ["another CA", "expired"])
async def test_a_host_without_a_good_certificate_stays_outside(
    rig: Rig, controller: FakeController, which: str
) -> None:
    if which == "another CA":
        foreign = Authority.create().issue_host(HOST)
        identity = Identity(foreign.key_pem, foreign.certificate_pem, controller.authority.certificate_pem)
    else:
        identity = controller.authority.issue_host(HOST, validity=dt.timedelta(seconds=-1))
    rig.start(identity=identity)
    with pytest.raises(AssertionError, match="in vain"):
        await controller.until(lambda: controller.connections > 0, "it is connected", 1)


async def test_an_agent_does_not_speak_to_an_unknown_controller(rig: Rig, controller: FakeController) -> None:
    impostor = Authority.create().issue_host(HOST)  # trusts another CA than the controller's
    rig.start(identity=impostor)
    with pytest.raises(AssertionError, match="in vain"):
        await controller.until(lambda: controller.connections > 0, "it is connected", 1)


async def test_a_certificate_that_ends_soon_is_renewed(rig: Rig, controller: FakeController, tmp_path: Path) -> None:
    old = controller.authority.issue_host(HOST, validity=dt.timedelta(minutes=5))
    rig.start(identity=old, renews=True)
    session = await rig.session()
    renewed = lambda: Identity.load(tmp_path).certificate_pem != old.certificate_pem  # noqa: E731 - a condition
    await asyncio.to_thread(wait_for, renewed, "the new certificate is stored")
    session.end()
    await rig.session(after=1)
    new = Identity.load(tmp_path)
    assert controller.renewals == 1
    assert not tls.renewal_due(new.certificate_pem)
    assert new.peer.name == HOST


class _FullDisk(MemoryStore):
    """A store on a disk that is full at first."""

    refusals = 2

    def save(self, change: Change) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreError("cannot store the desired state: disk is full")
        super().save(change)


async def test_what_cannot_be_stored_does_not_count_and_is_sent_again(rig: Rig, controller: FakeController) -> None:
    controller.sender(HOST).change(make.host_network(), *make.launch())
    agent, _ = rig.start(store=_FullDisk())
    session = await rig.session(after=2)
    await _ready(controller, session, MACHINE, 1)
    assert agent.reconciler.wanted.revision == 1


async def test_changes_wait_for_room_in_a_session_that_goes_on(
    rig: Rig, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "STORE_AGAIN_SECONDS", 0.05)
    sender, store = controller.sender(HOST), _FullDisk()
    store.refusals = 0
    sender.change(make.host_network())
    agent, host = rig.start(store=store)
    session = await rig.session()
    await _ready(controller, session, HOST_NETWORK, 1)
    store.refusals = 1 << 30
    session.send(sender.change(*make.launch()))
    await controller.until(lambda: _is(session, HOST_NETWORK, host_pb2.CONDITION_FAILED, 1), "it is said")
    assert session.statuses[HOST_NETWORK].error == (
        "all changes of this host wait: cannot store the desired state: disk is full"
    )
    assert (agent.reconciler.wanted.revision, host.running()) == (1, set())
    store.refusals = 3
    await _ready(controller, session, MACHINE, 2)
    await _ready(controller, session, HOST_NETWORK, 1)
    assert controller.connections == 1


class _SlowDisk(MemoryStore):
    """A store whose writes wait until they may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.may_end = threading.Event()

    def save(self, change: Change) -> None:
        self.began.set()
        assert self.may_end.wait(60)
        super().save(change)


async def test_what_is_being_stored_when_the_session_ends_counts_too(rig: Rig, controller: FakeController) -> None:
    controller.sender(HOST).change(make.host_network(), *make.launch())
    store = _SlowDisk()
    agent, _ = rig.start(store=store)
    await asyncio.to_thread(store.began.wait, 20)
    await controller.stop()
    store.may_end.set()
    await asyncio.to_thread(wait_for, lambda: agent.reconciler.wanted.revision == 1, "the change is known")
    await controller.start()
    session = await rig.session(after=1)
    await _ready(controller, session, MACHINE, 1)


async def test_many_statuses_are_split_and_the_revision_waits_for_the_last(
    rig: Rig, controller: FakeController
) -> None:
    volumes = [make.volume(f"vol-{number}", base_id="") for number in range(limits.STATUSES_PER_PROGRESS + 10)]
    controller.sender(HOST).change(make.host_network(), make.vpc(), *volumes)
    rig.start()
    session = await rig.session()
    seen: list[tuple[int, int]] = []

    def look() -> bool:
        seen.append((session.revision, len(session.statuses)))
        return session.revision == 1

    await controller.until(look, "revision 1 is reached")
    assert all(count == len(volumes) + 2 for revision, count in seen if revision == 1)
    assert len(session.statuses) == len(volumes) + 2


async def test_a_host_that_was_removed_ends_its_guests_and_not_their_disks(
    rig: Rig, controller: FakeController
) -> None:
    _, host = rig.start(store=(store := MemoryStore()))
    controller.sender(HOST).change(make.host_network(), *make.launch())
    session = await rig.session()
    await _ready(controller, session, MACHINE, 1)
    controller.removed.add(HOST)
    session.end()
    await asyncio.to_thread(
        wait_for, lambda: not host.running() and not host.subsystems.network.present(), "guests and networks are gone"
    )
    assert host.subsystems.volumes.present() == {"vol-1"}
    assert host.subsystems.bases.present() == {"snap-1"}
    assert {key.id for key in store.resources} == {"host-network", "vol-1", "snap-1"}


def test_resources_on_a_removed_host_are_unclaimed() -> None:
    wanted = Wanted()
    served, remote = make.volume("vol-1"), make.volume("vol-2")
    served.volume.export.client_host_id = "h-2"
    remote.volume.remote.home_host_id = "h-2"
    resources = (make.host_network(), make.base(), served, remote, *make.launch("3")[2:])
    wanted.install(Change(7, "epoch-1", full=True, put=resources))
    state = after_removal(wanted)
    assert state is not None
    assert (state.revision, state.epoch, state.full) == (7, "epoch-1", True)
    assert {each.id for each in state.resources} == {"host-network", "snap-1", "vol-1"}
    assert not any(each.volume.HasField("export") for each in state.resources)
    change = change_of(wanted, state)
    assert change is not None
    wanted.install(change)
    assert after_removal(wanted) is None


class EndedCall:
    """A call that the controller has just ended, as gRPC shows it to who writes."""

    def done(self) -> bool:
        return True

    async def write(self, report: host_pb2.HostReport) -> None:
        raise asyncio.InvalidStateError("RPC already finished.")

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    async def details(self) -> str:
        return "it is being replaced"


async def test_who_writes_when_the_controller_has_just_ended_the_session_says_why_it_did() -> None:
    with pytest.raises(ConnectionError, match="UNAVAILABLE: it is being replaced"):
        await link._Outgoing(EndedCall()).write(host_pb2.HostReport())  # type: ignore[arg-type]  # what of it is used


async def test_processors_of_a_guest_are_measured_six_times_as_often_if_that_is_wanted(
    rig: Rig, controller: FakeController
) -> None:
    host = SimulatedHost(RealClock(asyncio.get_running_loop()))
    rig.start(host=host, measure_seconds=3)
    session = await rig.session()
    *others, machine = make.launch()
    machine.machine.metadata.measured_closely = True
    session.send(controller.sender(HOST).change(make.host_network(), *others, machine))
    await _ready(controller, session, MACHINE, 1)
    host.counters.set_load("i-1", 0.5)

    def found() -> list[host_pb2.Measured]:
        for message in session.measured:
            session.stored(message.number)
        every = [each for message in session.measured for each in message.measured if each.id == "i-1"]
        return [each for each in every if each.metrics[:1] == [host_pb2.METRIC_PROCESSORS]]

    await controller.until(
        lambda: [each.values[0] for each in found()[-1:]] == [pytest.approx(50, abs=5)], "a half of its vCPUs is seen"
    )
    assert all(each.at % 500 == 0 and len(each.metrics) == 1 for each in found())


async def _repaired(controller: FakeController, session: HostSession, number: int) -> host_pb2.Repaired:
    """Have the host repair itself; give what it did."""
    session.ask(host_pb2.Question(id=number, repair=host_pb2.RepairQuestion()))
    await controller.until(lambda: number in session.answers, "the repair is done")
    assert session.answers[number].error == ""
    return host_pb2.Repaired.FromString(session.answers[number].content)


@pytest.mark.parametrize("threads", [False, True])
async def test_a_repair_removes_strays_and_says_what_was_changed_and_what_fails(
    rig: Rig, controller: FakeController, monkeypatch: pytest.MonkeyPatch, *, threads: bool
) -> None:
    agent, host = rig.start(threads=threads)
    controller.sender(HOST).change(make.host_network(), *make.launch())
    session = await rig.session()
    await _ready(controller, session, MACHINE, 1)
    well = await _repaired(controller, session, 1)
    assert (list(well.repairs), list(well.removed), list(well.left), list(well.failing)) == ([], [], [], [])
    assert well.settled

    host.world.objects.networks["vpc-stray"] = host.world.objects.networks["vpc-1"]
    host.world.objects.volumes["vol-stray"] = host.world.objects.volumes["vol-1"]
    monkeypatch.setattr(type(host.subsystems.firewall), "audit", lambda *_: ("host: table inet stead",))
    done = await _repaired(controller, session, 2)
    assert list(done.repairs) == ["firewall: host: table inet stead"]
    assert sorted(done.removed) == ["volume vol-stray", "vpc vpc-stray"]
    assert (list(done.left), list(done.failing), done.settled) == ([], [], True)
    assert set(host.world.objects.networks) == {"vpc-1"}
    assert host.running() == {"i-1"}

    host.world.objects.networks["vpc-stray"] = host.world.objects.networks["vpc-1"]
    late = await agent.repair(seconds=-1)
    assert (list(late.left), late.settled) == (["vpc vpc-stray"], False)


async def test_a_repair_tries_again_what_failed(rig: Rig, controller: FakeController) -> None:
    agent, host = rig.start()
    host.world.fail_next("bases.ensure", NetworkError("the store is away"), times=1000)
    controller.sender(HOST).change(make.host_network(), *make.launch())
    session = await rig.session()
    await controller.until(lambda: any(agent.reconciler.failing()), "it fails")
    failed = await _repaired(controller, session, 1)
    assert "base snap-1: the store is away" in failed.failing
    host.world._faults.clear()
    again = await _repaired(controller, session, 2)
    assert (list(again.failing), again.settled) == ([], True)
    assert host.running() == {"i-1"}


async def test_a_repair_is_not_done_while_a_stray_is_there(
    rig: Rig, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, host = rig.start()
    controller.sender(HOST).change(make.host_network(), *make.launch())
    session = await rig.session()
    await _ready(controller, session, MACHINE, 1)
    await controller.until(lambda: agent.reconciler.is_quiet, "nothing is to be done")
    monkeypatch.setattr(agent.reconciler, "look_at_everything", lambda: None)
    host.world.objects.networks["vpc-stray"] = host.world.objects.networks["vpc-1"]
    done = await _repaired(controller, session, 1)
    assert (list(done.removed), done.settled) == (["vpc vpc-stray"], True)
    assert set(host.world.objects.networks) == {"vpc-1"}
