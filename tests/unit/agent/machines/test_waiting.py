"""A semaphore in the order of arrival, chores in the order of time, and questions that are not waited for."""

import threading

import libvirt
import pytest

from stead_agent.machines import records
from stead_agent.machines.chores import Chores
from stead_agent.machines.fair_semaphore import FairSemaphore
from stead_agent.machines.interface import MachineError
from stead_agent.machines.life import Record
from stead_agent.machines.waiting import Asker, power_off, seconds_waiting
from tests.support.waiting import wait_for


def until(condition):
    wait_for(condition, "the threads are there", 5, poll=0.001)


def test_turns_are_few_and_in_order():
    semaphore, served, running, most = FairSemaphore(2), [], [], []
    gate = threading.Semaphore(0)

    def work(number):
        with semaphore.held():
            running.append(number)
            most.append(len(running))
            served.append(number)
            gate.acquire()
            running.remove(number)

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        until(lambda number=number: len(served) + len(semaphore._waiting) == number + 1)
    for number in range(8):
        gate.release()
        until(lambda number=number: len(served) == min(8, number + 3))
    for thread in threads:
        thread.join()
    assert served == list(range(8))
    assert max(most) == 2


def test_a_slot_is_passed_on_after_an_error():
    semaphore = FairSemaphore(1)
    with pytest.raises(ValueError, match="x"), semaphore.held():
        raise ValueError("x")
    with semaphore.held():
        pass


def test_chores_are_done_by_time_and_survive_errors():
    chores, done = Chores("test"), []

    def fail(error):
        raise error

    chores.later(0.05, lambda: done.append("later"))
    chores.soon(lambda: fail(MachineError("x")))
    chores.soon(lambda: fail(ZeroDivisionError()))
    chores.soon(lambda: done.append("soon"))
    until(lambda: len(done) == 2)
    assert done == ["soon", "later"]
    chores.later(1000, lambda: done.append("never"))
    chores.close()
    assert done == ["soon", "later"]


def test_a_chore_may_end_the_chores():
    chores, done = Chores("test"), []

    def end():
        chores.close()
        done.append(True)

    chores.soon(end)
    until(lambda: done)


def test_questions_to_libvirt_are_not_waited_for_without_end():
    asker, release = Asker(0.01), threading.Event()
    assert asker.ask(lambda: 7) == 7
    with pytest.raises(MachineError, match="refused"):
        asker.ask(_refuse)
    assert [asker.ask(release.wait) for _ in range(2)] == [None, None]
    asked = []
    assert asker.ask(lambda: asked.append(1)) is None
    assert asked == []  # two at a time are enough
    release.set()
    wait_for(lambda: asker.ask(lambda: 7) == 7, "it asks again when one is answered", 5, poll=0.001)


def _refuse():
    raise MachineError("refused")


class Ending:
    """A domain that is ended, with what libvirt says of that."""

    def __init__(self, code):
        self.code = code

    def destroy(self):
        if self.code is not None:
            raise refusal(self.code)

    def controlInfo(self):  # noqa: N802 - libvirt's name
        if self.code is not None:
            raise refusal(self.code)
        return libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, 0, 1500


def refusal(code):
    error = libvirt.libvirtError("not running")
    error.err = (code,)
    return error


def test_a_guest_that_has_just_ended_is_powered_off():
    for code in (None, libvirt.VIR_ERR_OPERATION_INVALID):
        power_off(Ending(code))
    with pytest.raises(libvirt.libvirtError):
        power_off(Ending(libvirt.VIR_ERR_INTERNAL_ERROR))


def test_nobody_waits_for_a_guest_that_has_just_ended():
    assert seconds_waiting(Ending(None)) == 1.5
    assert seconds_waiting(Ending(libvirt.VIR_ERR_OPERATION_INVALID)) == 0
    with pytest.raises(libvirt.libvirtError):
        seconds_waiting(Ending(libvirt.VIR_ERR_INTERNAL_ERROR))


class Recorded:
    """A domain whose guest may have ended, with the places to which records were written."""

    def __init__(self, code, *, runs):
        self.code, self.runs, self.places = code, runs, []

    def isActive(self):  # noqa: N802 - libvirt's name
        return int(self.runs)

    def setMetadata(self, kind, text, prefix, namespace, where):  # noqa: N802 - libvirt's name
        if where & libvirt.VIR_DOMAIN_AFFECT_LIVE and self.code is not None:
            raise refusal(self.code)
        self.places.append(where)


def test_what_is_recorded_of_a_guest_that_has_just_ended_is_kept():
    live, later = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    record = Record("agent")
    for code, was_active, runs, places in (
        (None, True, True, [live | later]),
        (None, False, False, [later]),
        (libvirt.VIR_ERR_OPERATION_INVALID, True, False, [later]),
    ):
        domain = Recorded(code, runs=runs)
        records.write(domain, record, is_active=was_active)
        assert domain.places == places
    for code, runs in ((libvirt.VIR_ERR_OPERATION_INVALID, True), (libvirt.VIR_ERR_INTERNAL_ERROR, False)):
        domain = Recorded(code, runs=runs)
        with pytest.raises(libvirt.libvirtError):
            records.write(domain, record, is_active=True)
        assert domain.places == []
