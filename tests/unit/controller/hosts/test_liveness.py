"""A host is down when it has been silent, whatever becomes of the wall clock meanwhile (FAULTS 30)."""

import asyncio
import threading
from datetime import timedelta

import pytest

from stead_controller.db.tables import Host
from stead_controller.hosts.liveness import Liveness
from tests.support import rows
from tests.support.rows import NOW

TIMEOUT = 20


class Clocks:
    """The wall clock, which can be set, and the one that cannot."""

    def __init__(self):
        self.wall, self.steady = NOW, 1000.0

    def pass_by(self, seconds):
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def liveness(clocks):
    return Liveness(lambda: clocks.wall, TIMEOUT, lambda: clocks.steady)


@pytest.fixture
def state(database, run, world, liveness):
    """Write, and give the state of the world's host."""

    def written():
        asyncio.run(liveness.write(database))
        return run(lambda tx: tx.session.get_one(Host, world.host_id).state)

    return written


def test_a_silent_host_is_down_until_it_is_heard_of(clocks, liveness, state, world):
    liveness.seen(world.host_id)
    assert state() == "up"
    clocks.pass_by(TIMEOUT)
    assert state() == "up"
    clocks.pass_by(1)
    assert (state(), state()) == ("down", "down")
    liveness.seen(world.host_id)
    assert state() == "up"


@pytest.fixture
def is_here(database, run, world):
    """The world's host is at this controller."""

    def write(tx):
        tx.session.get_one(Host, world.host_id).controller_id = database.id

    run(write)


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.usefixtures("is_here")
def test_a_clock_that_jumps_takes_no_host_down_and_keeps_none_up(clocks, liveness, state, world, hours):
    liveness.seen(world.host_id)
    assert state() == "up"
    clocks.wall += timedelta(hours=hours)
    liveness.seen(world.host_id)
    assert state() == "up"
    clocks.pass_by(TIMEOUT - 1)
    assert state() == "up"
    clocks.pass_by(2)
    assert state() == "down"


def test_a_host_that_another_controller_hears_of_stays_up(clocks, liveness, state, world, database):
    liveness.seen(world.host_id)
    assert state() == "up"
    clocks.pass_by(TIMEOUT - 5)
    other = Liveness(lambda: clocks.wall, TIMEOUT, lambda: clocks.steady)
    other.seen(world.host_id)
    asyncio.run(other.write(database))
    clocks.pass_by(6)
    assert (state(), state()) == ("up", "up")
    clocks.pass_by(TIMEOUT)
    assert state() == "down"


def test_what_a_paused_controller_had_still_to_write_takes_no_host_down(clocks, liveness, state, world, run):
    liveness.seen(world.host_id)
    clocks.pass_by(TIMEOUT * 3)  # the process does not run: nothing is written, and hosts go to another one

    def at_another(tx):
        host = tx.session.get_one(Host, world.host_id)
        host.state, host.last_seen, host.controller_id = "up", clocks.wall, "another"

    run(at_another)
    assert (state(), state()) == ("up", "up")
    assert run(lambda tx: tx.session.get_one(Host, world.host_id).last_seen) == clocks.wall


def test_a_host_of_which_another_controller_had_a_late_word_is_up_where_it_is_heard_of(
    clocks, liveness, state, world, run
):
    def as_at_another(tx):
        host = tx.session.get_one(Host, world.host_id)
        host.state, host.last_seen, host.controller_id = "down", clocks.wall, "another"

    run(as_at_another)
    clocks.pass_by(1)
    liveness.seen(world.host_id)
    assert state() == "up"


def test_who_was_not_heard_of_since_the_start_is_judged_by_its_row(clocks, liveness, state, run, world):
    def say(tx):
        host = tx.session.get_one(Host, world.host_id)
        host.state, host.last_seen = "up", NOW

    run(say)
    clocks.pass_by(TIMEOUT)
    assert state() == "up"
    clocks.pass_by(1)
    assert state() == "down"


def test_who_watches_instances_is_told_when_their_host_goes_down(clocks, liveness, state, world, database):
    instance = database.run_blocking(lambda tx: rows.launch(tx, world, world.one, number=1).id)
    told = []
    database.on_commit(lambda tx: told.append(instance in tx.events))
    liveness.seen(world.host_id)
    state()
    assert not any(told)
    clocks.pass_by(TIMEOUT + 1)
    state()
    assert any(told)


def test_that_hosts_are_alive_is_written_before_the_calls_that_wait(database, world, liveness):
    order, held = [], threading.Event()

    async def run():
        liveness.seen(world.host_id)
        database.on_commit(lambda _: order.append("committed"))
        holder = asyncio.create_task(database.run(lambda _tx: held.wait(20), dry_run=True))
        await asyncio.sleep(0)
        call = asyncio.create_task(database.run(lambda tx: order.append(tx.session.get_one(Host, world.host_id).state)))
        await asyncio.sleep(0)
        writing = asyncio.create_task(liveness.write(database))
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(holder, call, writing)

    database.run_blocking(lambda tx: setattr(tx.session.get_one(Host, world.host_id), "state", "down"))
    asyncio.run(run())
    assert order[0] == "up"
