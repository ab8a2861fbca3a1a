"""Real guests with whole cores: their vCPUs run there and nothing else does, and their memory is made of huge pages."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent import hardware
from stead_agent.machines.interface import MachineError, Pinning, Power

from .conftest import MEMORY, World, wait_for

PAGES = MEMORY // hardware.HUGE_PAGE


@pytest.fixture
def core(world: World) -> hardware.Core:
    """A core of this machine that the world has set apart; all other guests share a thread of another one."""
    found = hardware.cores(os.sched_getaffinity(0))
    if len(found) < 2:
        pytest.skip("needs two cores")
    world.shared_threads = str(found[0].number)
    world.connect()
    return found[1]


@pytest.fixture
def huge_pages(core: hardware.Core):
    """As many free huge pages in the core's node as a guest needs, for this test alone."""
    path = Path(f"/sys/devices/system/node/node{core.node}/hugepages/hugepages-2048kB/nr_hugepages")
    before = path.read_text() if path.exists() else ""
    free = hardware.free_huge_pages(core.node)
    try:
        path.write_text(str(int(before) + PAGES - free))
    except (OSError, ValueError):
        pytest.skip("this kernel lets nobody set huge pages aside")
    try:
        if hardware.free_huge_pages(core.node) < PAGES:
            pytest.skip("this machine's memory is too fragmented for huge pages")
        yield
    finally:
        path.write_text(before)


def allowed(world: World, machine_id: str) -> dict[str, set[str]]:
    """On which threads a guest's vCPUs may run, and all other threads of its process."""
    found: dict[str, set[str]] = {"vcpus": set(), "others": set()}
    for task in Path(f"/proc/{world.process_of(machine_id)}/task").iterdir():
        try:
            kind = "vcpus" if "CPU" in (task / "comm").read_text() else "others"
            lines = (task / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a worker of QEMU that has just ended
        found[kind] |= {line.split()[1] for line in lines if line.startswith("Cpus_allowed_list:")}
    return found


def pages_of(world: World, machine_id: str) -> int:
    """How many KiB of a guest's process are made of huge pages."""
    smaps = Path(f"/proc/{world.process_of(machine_id)}/smaps").read_text().splitlines()
    return sum(int(line.split()[1]) for line in smaps if line.startswith(("Shared_Hugetlb:", "Private_Hugetlb:")))


def test_vcpus_have_their_core_alone_and_huge_pages_and_give_them_back(world, core, huge_pages):
    pinned = world.spec(pinning=Pinning((core.number,), core.node, huge_pages=True))
    other = world.spec()
    for each in (pinned, other):
        assert world.machines.start(each, 1).power is Power.RUNNING
    shared = {world.shared_threads}
    assert allowed(world, pinned.id) == {"vcpus": {str(core.number)}, "others": shared}
    assert allowed(world, other.id) == {"vcpus": shared, "others": shared}
    assert pages_of(world, pinned.id) == MEMORY >> 10
    assert pages_of(world, other.id) == 0
    second = world.spec(pinning=Pinning((core.number,), core.node))
    with pytest.raises(MachineError, match=f"{pinned.id} still has the hardware thread {core.number}"):
        world.machines.start(second, 1)
    too_much = world.spec(pinning=Pinning((int(world.shared_threads),), core.node, huge_pages=True))
    with pytest.raises(MachineError, match=rf"0 of {PAGES} huge pages of 2 MiB are free"):
        world.machines.start(too_much, 1)
    world.machines.stop(pinned.id, force=True)
    wait_for(lambda: hardware.free_huge_pages(core.node) == PAGES, "the huge pages are free again")
    assert world.machines.start(second, 1).power is Power.RUNNING


def test_a_guest_that_was_there_leaves_a_core_that_is_set_apart(world, core):
    there = world.spec()
    shared, world.shared_threads = world.shared_threads, ""
    world.connect()
    world.machines.start(there, 1)
    assert str(core.number) not in allowed(world, there.id)["vcpus"] or len(allowed(world, there.id)["vcpus"]) == 1
    world.shared_threads = shared
    world.connect()
    world.machines.update(replace(there))
    assert allowed(world, there.id) == {"vcpus": {shared}, "others": {shared}}
    world.machines.update(there)
    assert allowed(world, there.id) == {"vcpus": {shared}, "others": {shared}}
