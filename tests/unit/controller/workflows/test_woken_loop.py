"""The loop that is woken: when its rounds are, by a time that is only counted."""

import asyncio
import logging

import pytest

from stead_controller.workflows.woken_loop import WokenLoop, always
from tests.support import virtual_time


async def _end(running):
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class Rounds:
    """Writes down the time of each round and whether it was woken; some of them take a while or fail."""

    def __init__(self, pause=0.0, leads=always):
        self.loop = WokenLoop("rounds", pause=pause, leads=leads)
        self.seen = []
        self.takes = {}  # seconds, by the number of the round
        self.fails = set()

    async def play(self, woken):
        number = len(self.seen)
        self.seen.append((asyncio.get_running_loop().time(), woken))
        await virtual_time.passes(self.takes.get(number, 0))
        if number in self.fails:
            raise ConnectionError("the database is away")

    def run(self, seconds, *wakes, looks=()):
        """Run for a while, wake it at these times, and have it look at those."""

        async def work():
            running = asyncio.create_task(self.loop.run(self.play))
            for at in wakes:
                asyncio.get_running_loop().call_at(at, self.loop.wake)
            for at in looks:
                asyncio.get_running_loop().call_at(at, lambda: asyncio.ensure_future(self.loop.look()))
            await virtual_time.passes(seconds)
            await _end(running)

        virtual_time.run(work())
        return self.seen


def test_the_first_round_is_woken_and_none_comes_by_itself():
    assert Rounds().run(2.5) == [(0, True)]


def test_a_round_that_looks_for_what_is_due_is_not_woken():
    assert Rounds().run(2.5, 1.5, looks=(1, 2)) == [(0, True), (1, False), (1.5, True), (2, False)]


def test_a_wake_and_a_look_are_one_woken_round():
    rounds = Rounds(pause=0.5)
    assert rounds.run(1, 0.125, looks=(0.25,)) == [(0, True), (0.5, True)]


def test_a_wake_begins_a_round_at_once():
    assert Rounds().run(2.5, 0.25) == [(0, True), (0.25, True)]


def test_a_wake_during_a_round_begins_another_after_it():
    rounds = Rounds()
    rounds.takes[0] = 0.5
    assert rounds.run(1, 0.25, 0.375) == [(0, True), (0.5, True)]


def test_wakes_within_the_pause_are_one_round():
    assert Rounds(pause=0.5).run(1.25, 0.125, 0.25, 0.75) == [(0, True), (0.5, True), (1, True)]


def test_a_round_that_fails_is_logged_and_told_the_same_again(caplog):
    rounds = Rounds()
    rounds.fails = {0, 1, 3}
    assert rounds.run(6.5, looks=(4,)) == [(0, True), (1, True), (2, True), (4, False), (5, False)]
    logged = [(one.levelno, one.message, one.loop) for one in caplog.records if one.name.endswith("woken_loop")]
    assert logged == [(logging.ERROR, "loop_not_run", "rounds")] * 3


def test_what_is_noted_is_there_in_the_round_that_it_begins():
    loop, noted, seen = WokenLoop("rounds"), [], []

    async def play(_woken):
        seen.append(list(noted))

    async def work():
        loop.wake(lambda: noted.append("before it runs"))
        running = asyncio.create_task(loop.run(play))
        await virtual_time.passes(0.5)
        loop.wake(lambda: noted.append("i-1"))
        loop.wake(lambda: noted.append("i-2"))
        assert noted == []
        await virtual_time.passes(0.25)
        await _end(running)

    virtual_time.run(work())
    assert seen == [[], ["i-1", "i-2"]]


def test_a_round_comes_at_the_time_that_was_asked_for():
    rounds = Rounds()

    async def work():
        running = asyncio.create_task(rounds.loop.run(rounds.play))
        rounds.loop.wake_in(0.75)
        await virtual_time.passes(1)
        await _end(running)

    virtual_time.run(work())
    assert rounds.seen == [(0, True), (0.75, True)]


async def test_another_thread_wakes_it():
    rounds = Rounds()

    async def play(woken):
        seen.append(woken)
        if len(seen) == 2:
            raise asyncio.CancelledError
        await asyncio.to_thread(rounds.loop.wake)

    seen = []
    with pytest.raises(asyncio.CancelledError):
        await rounds.loop.run(play)
    assert seen == [True, True]


def test_who_does_not_lead_has_no_round_and_then_one_that_is_woken():
    leads = iter([False, False, True, True])
    rounds = Rounds(leads=lambda: next(leads))
    assert rounds.run(4, looks=(1, 2, 3)) == [(2, True), (3, False)]
