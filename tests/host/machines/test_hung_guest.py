"""A QEMU that does not answer (here stopped by a signal): it is noticed, hinders no other guest, and can be ended."""

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import libvirt
import pytest

from stead_agent.machines import health, libvirt_machines, life, waiting
from stead_agent.machines.boot_clock import Patience
from stead_agent.machines.domains import Domain
from stead_agent.machines.interface import MachineError, OffReason, Power
from stead_agent.machines.monitor import execute

from .conftest import World, wait_for


def test_a_hung_qemu_is_noticed_hinders_no_other_guest_and_is_ended(world: World, monkeypatch) -> None:
    monkeypatch.setattr(health, "HUNG_SECONDS", 3.0)
    hung, other = world.spec(), world.spec()
    for spec in (hung, other):
        world.machines.start(spec, 1)
    looks = world.machines.health
    looks._asker = waiting.Asker(0.5)
    process = world.process_of(hung.id)
    began = int(time.time())
    looks.look()
    os.kill(process, signal.SIGSTOP)
    wait_for(lambda: looks.look() or looks.hung_since(hung.id), "it is noticed", 60)
    status = world.machines.status(hung.id)
    assert (status.power, began - 1 <= status.hung_since <= time.time() - 3) == (Power.RUNNING, True)
    assert hung.id in world.heard
    assert world.machines.status(other.id).hung_since == 0
    before = looks._guests[other.id].disks[other.disks[0].id].asked_at
    monkeypatch.setattr("stead_agent.machines.disk_progress.ASK_SECONDS", 0.0)
    looks.look()
    assert looks._guests[other.id].disks[other.disks[0].id].asked_at > before, "the other guest is still looked at"

    os.kill(process, signal.SIGCONT)
    wait_for(lambda: looks.look() or not looks.hung_since(hung.id), "it answers again", 60)
    for start in (1, 2):
        world.machines.start(hung, start)
        os.kill(world.process_of(hung.id), signal.SIGSTOP)
        wait_for(lambda: looks.look() or looks.hung_since(hung.id), "it is noticed again", 60)
        assert world.machines.status(hung.id).volume_ids == {hung.disks[0].id}
        if start == 1:
            status = world.machines.stop(hung.id)
            assert (status.power, status.off_reason, status.hung_since) == (Power.OFF, OffReason.ASKED, 0)
            assert world.machines.status(hung.id) == status
    world.machines.remove(hung.id)
    assert world.machines.present() == {other.id}


def test_one_that_hangs_while_it_stops_is_powered_off_and_hinders_no_other_stop(world: World) -> None:
    """The power button is pressed again and again, which QEMU does not answer then; what is due is done all the same."""
    world.patience = Patience(stop=4, press_again=1)
    world.connect()
    hung, other = world.spec(), world.spec()
    for spec in (hung, other):
        world.machines.start(spec, 1)
        assert world.machines.stop(spec.id).power is Power.STOPPING
    os.kill(world.process_of(hung.id), signal.SIGSTOP)
    for spec in (other, hung):
        world.wait_for_power(spec.id, Power.OFF, 120)
        assert world.machines.status(spec.id).off_reason is OffReason.ASKED


@pytest.mark.parametrize("call", ["stop", "remove"])
def test_one_that_hangs_while_a_thread_asks_it_is_ended_all_the_same(world: World, call: str) -> None:
    """The thread holds the machine's lock, and waits without end; the guest's end ends that as well."""
    world.patience = Patience(stop=1)
    world.connect()
    hung = world.spec()
    world.machines.start(hung, 1)
    process = world.process_of(hung.id)
    os.kill(process, signal.SIGSTOP)
    begun = threading.Event()

    def ask() -> None:
        # The guest's end is what the call fails by.
        with contextlib.suppress(MachineError), world.machines.domain(hung.id) as domain:
            begun.set()
            execute(domain, "query-status")

    asking = threading.Thread(target=ask)
    with ThreadPoolExecutor(1) as pool:
        asking.start()
        begun.wait()
        ending = pool.submit(getattr(world.machines, call), hung.id)
        try:
            ending.result(120)
        except TimeoutError:
            os.kill(process, signal.SIGCONT)
            raise
        finally:
            asking.join()
    if call == "stop":
        world.wait_for_power(hung.id, Power.OFF, 120)
        assert world.machines.status(hung.id).off_reason is OffReason.ASKED
    else:
        assert hung.id not in world.machines.present()


def test_who_holds_a_guest_whose_qemu_answers_is_waited_for(world: World) -> None:
    guest = world.spec()
    world.machines.start(guest, 1)
    ending = threading.Thread(target=partial(world.machines.stop, guest.id, force=True))
    with world.machines.domain(guest.id) as domain:
        ending.start()
        ending.join(2)
        assert domain.isActive()
    ending.join()
    assert world.machines.status(guest.id).power is Power.OFF


def test_one_that_could_not_be_powered_off_when_it_was_due_is_so_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libvirt gives a process some seconds to end, which is too short for one that waits for a disk."""
    world.patience = Patience(stop=1, press_again=1)
    monkeypatch.setattr(libvirt_machines, "_AGAIN_SECONDS", 0.1)
    tried = []

    def refused(domain: libvirt.virDomain) -> None:
        tried.append(domain.name())
        if len(tried) < 8:
            raise libvirt.libvirtError("Failed to terminate process 7 with SIGKILL: Device or resource busy")
        waiting.power_off(domain)

    monkeypatch.setattr(libvirt_machines, "power_off", refused)
    world.connect()
    guest = world.spec()
    world.machines.start(guest, 1)
    world.machines.stop(guest.id)
    world.wait_for_power(guest.id, Power.OFF, 60)
    assert tried == [guest.id] * 8


@pytest.mark.parametrize("asked", [False, True], ids=["by itself", "as asked"])
def test_one_that_does_not_end_after_its_guest_has_shut_down_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """QEMU writes what it must to its disks at its end, and a home of one may be away."""
    world.patience = Patience(stop=2, hastened_stop=1)
    world.connect()
    guest = world.spec()
    world.machines.start(guest, 1)
    if asked:
        world.machines.stop(guest.id)
    find = world.machines._domains.find

    def find_shut_down(machine_id: str) -> Domain | None:
        found = find(machine_id)
        if found is None or not found.view.active:
            return found
        return replace(found, view=replace(found.view, state=life.State.SHUTDOWN))

    monkeypatch.setattr(world.machines._domains, "find", find_shut_down)
    world.machines._on_event(guest.id, False)
    world.wait_for_power(guest.id, Power.OFF, 60)
    assert world.machines.status(guest.id).off_reason is (OffReason.ASKED if asked else OffReason.GUEST)
