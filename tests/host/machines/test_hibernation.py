"""Hibernation on a real libvirt, and agents that end in the middle of it; the guests are firmware that waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stead_agent.machines import domains, hibernation
from stead_agent.machines.hibernation import Hibernation
from stead_agent.machines.interface import MachineError, MachineSpec, OffReason, Power

from .conftest import World, wait_for

KEY = bytes(range(32))


def memory_of(world: World, spec: MachineSpec) -> Path:
    return world.root / "memories" / f"{spec.id}.qcow2"


@pytest.fixture
def spec(world: World) -> MachineSpec:
    """A machine whose root disk is encrypted, and which runs."""
    made = world.spec(disks=(world.encrypted_disk(KEY),))
    world.machines.start(made, 1)
    return made


@contextmanager
def dying_after(monkeypatch: pytest.MonkeyPatch, of: object, name: str) -> Iterator[None]:
    """Let the agent end within this `with` when it has done something."""
    done: Callable[..., Any] = getattr(of, name)

    def die(*args: Any, **kwargs: Any) -> None:
        done(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(of, name, die)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.fixture(autouse=True)
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The guests whose clocks were to be set."""
    names: list[str] = []
    monkeypatch.setattr(hibernation, "set_clock", lambda domain: names.append(domain.name()))
    return names


def is_hibernated(world: World, spec: MachineSpec, start: int) -> bool:
    seen = world.machines.status(spec.id)
    assert seen is not None
    return (seen.power, seen.start_count, seen.off_reason, seen.hibernated) == (Power.OFF, start, OffReason.ASKED, True)


def test_an_agent_that_ended_after_it_has_saved_saves_again(
    world: World, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying_after(monkeypatch, Hibernation, "save"):
        world.machines.hibernate(spec.id, KEY)
    world.connect()
    status = world.machines.status(spec.id)
    assert status is not None
    assert (status.power, status.hibernated) == (Power.PAUSED, False)
    world.machines.hibernate(spec.id, KEY)
    assert is_hibernated(world, spec, 1)
    assert world.machines.hibernate(spec.id, KEY).hibernated
    assert memory_of(world, spec).exists()
    world.machines.remove(spec.id)
    assert not memory_of(world, spec).exists()
    assert not world.leaks()


def test_an_agent_that_ended_before_the_guest_has_ended_ends_it(
    world: World, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying_after(monkeypatch, domains, "write"):
        world.machines.hibernate(spec.id, KEY)
    world.connect()
    wait_for(lambda: is_hibernated(world, spec, 1), "it is hibernated")


def test_an_agent_that_ended_while_it_loads_begins_anew(
    world: World, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.machines.hibernate(spec.id, KEY)
    with dying_after(monkeypatch, Hibernation, "load"):
        world.machines.start(spec, 2)
    world.connect()
    wait_for(lambda: is_hibernated(world, spec, 1), "that start has not happened")
    status = world.machines.start(spec, 2)
    assert (status.power, status.start_count) == (Power.RUNNING, 2)
    assert not memory_of(world, spec).exists()


def test_an_agent_that_ended_before_it_resumed_the_guest_resumes_it(
    world: World, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch, resumed: list[str]
) -> None:
    world.machines.hibernate(spec.id, KEY)
    with dying_after(monkeypatch, domains, "write"):
        world.machines.start(spec, 2)
    assert memory_of(world, spec).exists()
    world.connect()
    world.wait_for_power(spec.id, Power.RUNNING)
    wait_for(lambda: not memory_of(world, spec).exists(), "the memory is removed")
    wait_for(lambda: resumed == [spec.id], "its clock is to be set")
    status = world.machines.status(spec.id)
    assert status is not None
    assert status.start_count == 2
    status = world.machines.stop(spec.id, force=True)  # as any other guest
    assert (status.off_reason, status.hibernated) == (OffReason.ASKED, False)
    assert world.machines.start(spec, 3).power is Power.RUNNING


def test_a_guest_that_cannot_be_saved_runs_on(world: World, spec: MachineSpec) -> None:
    plain = world.spec()
    world.machines.start(plain, 1)
    for one, key in ((plain, KEY), (spec, b""), (spec, bytes(32))):
        with pytest.raises(MachineError):
            world.machines.hibernate(one.id, key)
        status = world.machines.status(one.id)
        assert status is not None
        assert (status.power, status.hibernated) == (Power.RUNNING, False)
        assert not memory_of(world, one).exists()
    world.machines.hibernate(spec.id, KEY)
    assert is_hibernated(world, spec, 1)


def test_a_guest_whose_memory_is_damaged_boots(world: World, spec: MachineSpec) -> None:
    world.machines.hibernate(spec.id, KEY)
    with memory_of(world, spec).open("r+b") as file:
        file.write(bytes(4096))
    with pytest.raises(MachineError):
        world.machines.start(spec, 2)
    assert not memory_of(world, spec).exists()
    status = world.machines.start(spec, 2)
    assert (status.power, status.start_count) == (Power.RUNNING, 2)
