"""A fleet enrols, runs, and lets another process play with its hosts."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stead_agent import agent
from stead_agent.enrol import EnrolmentError
from stead_agent.fleet import Fleet, FleetPlan
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.fake_controller import FakeController
from tests.support.waiting import wait_for

HOSTS = 20


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    """A listening controller with a token for each host."""
    controller = FakeController()
    controller.tokens.update(f"token-{number}" for number in range(HOSTS))
    await controller.start()
    yield controller
    await controller.stop()


def _plan(controller: FakeController, folder: Path, **words: Any) -> FleetPlan:
    return FleetPlan(
        state_dir=folder,
        hosts=HOSTS,
        controllers=(controller.address,),
        version="1.2.3",
        enrolment=controller.enrolment_address,
        ca_pem=controller.authority.certificate_pem,
        **words,
    )


async def test_all_hosts_enrol_and_connect(
    controller: FakeController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "AUDIT_SECONDS", 0.05)
    fleet = Fleet(_plan(controller, tmp_path))
    await fleet.enrol(sorted(controller.tokens))
    assert controller.tokens == set()
    running = asyncio.create_task(fleet.run())
    await controller.until(lambda: len(controller.sessions) == HOSTS, "all are connected")
    assert set(controller.sessions) == set(fleet.hosts)
    objects = next(iter(fleet.hosts.values())).world.objects
    for _ in range(2):
        objects.trash.append("vol-1")
        await asyncio.to_thread(wait_for, lambda: not objects.trash, "what was removed is deleted")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again = Fleet(_plan(controller, tmp_path))
    await again.enrol([])  # all have certificates


async def test_a_missing_token_is_named(controller: FakeController, tmp_path: Path) -> None:
    fleet = Fleet(_plan(controller, tmp_path))
    with pytest.raises(ExceptionGroup) as raised:
        await fleet.enrol(sorted(controller.tokens)[:-1])
    assert raised.group_contains(EnrolmentError, match="no token left to enrol simulated-0020")


async def _ask(path: Path, **command: Any) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(json.dumps(command).encode() + b"\n")
    answer: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    return answer


async def test_another_process_lets_a_guest_crash(controller: FakeController, tmp_path: Path) -> None:
    control = tmp_path / "control"
    fleet = Fleet(_plan(controller, tmp_path, control=control))
    await fleet.enrol(sorted(controller.tokens))
    running = asyncio.create_task(fleet.run())
    await controller.until(lambda: len(controller.sessions) == HOSTS, "all are connected")
    host_id, session = next(iter(controller.sessions.items()))
    asked = await _ask(control, do="fail_next", host=host_id, name="machines.start", error="QEMU said no")
    assert asked == {"well": True}
    session.send(controller.sender(host_id).change(make.host_network(), *make.launch()))
    machine = Key(pb.KIND_MACHINE, "i-1")
    await controller.until(lambda: machine in session.statuses and session.statuses[machine].error, "the start failed")
    assert session.statuses[machine].error == "QEMU said no"
    await controller.until(
        lambda: session.statuses[machine].condition == host_pb2.CONDITION_READY, "it was tried again"
    )
    assert (await _ask(control, do="hosts"))["hosts"][host_id] == {"running": ["i-1"]}
    assert await _ask(control, do="crash_guest", machine="i-1") == {"well": True}
    await controller.until(
        lambda: session.statuses[machine].machine.off_reason == host_pb2.OFF_REASON_CRASHED, "the crash is reported"
    )
    remains = await _ask(control, do="remains", host=host_id)
    assert remains["remains"]["guests"] == ["i-1"]
    assert remains["violations"] == []
    for wrong in ({"do": "fly"}, {"do": "crash_guest", "machine": "i-404"}, {"do": "remains", "host": "h-404"}, {}):
        assert not (await _ask(control, **wrong))["well"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
