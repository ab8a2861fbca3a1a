"""Lives go on step by step, whoever is killed, and end once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.db.tables import CloudFact, Workflow
from stead_controller.resources import workflow_rows
from stead_controller.workflows.engine import Done, Engine, GiveUp, Life, Next, Wait

START = datetime(2026, 3, 4, tzinfo=UTC)
STEPS = ("begin", "build", "polish")
LEASE = timedelta(seconds=30)


class Clock:
    """Time that the test moves; by `set_by` somebody has set the clock."""

    def __init__(self):
        self.now = START
        self.set_by = timedelta()

    def __call__(self):
        return self.now + self.set_by

    def monotonic(self):
        return (self.now - START).total_seconds()


class House(Life):
    """Writes a row per step, which may be there already; the test chooses its failures."""

    kind = "house"
    trouble: dict
    seen: list

    async def begin(self):
        return await self._do("begin", Next(self.build))

    async def build(self):
        return await self._do("build", Next(self.polish))

    async def polish(self):
        return await self._do("polish", Done())

    async def fail(self, message):
        await self.database.run(lambda tx: tx.session.merge(CloudFact(name="failed", value=message)))

    async def _do(self, step, outcome):
        self.seen.append(step)
        await self.database.run(lambda tx: tx.session.merge(CloudFact(name=step, value=self.facts["owner"])))
        trouble = self.trouble.pop(step, None)
        if isinstance(trouble, BaseException):
            raise trouble
        return trouble or outcome


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def life(database, clock):
    House.trouble, House.seen = {}, []
    database.run_blocking(
        lambda tx: workflow_rows.begin(
            tx, "house", "ami-1", {"owner": "me"}, now=clock.now, patience=timedelta(hours=1)
        )
    )
    return House


def engine(database, clock):
    make = {"house": lambda subject, facts: House(database, clock, subject, facts)}
    return Engine(database, clock, make, monotonic=clock.monotonic)


async def run_once(database, clock, holder="one"):
    """Run one step that is due; give whether there was one."""
    worker = engine(database, clock)
    worker.holder = holder
    lease = timedelta(seconds=30)
    due = await database.run(lambda tx: workflow_rows.lease_due(tx, holder, clock.now, clock.now + lease, 1))
    for row in due:
        await worker.step(row, clock.now)
    return bool(due)


def rows_of(database):
    return database.run_blocking(lambda tx: tx.session.query(Workflow).all(), writes=False)


def facts(database):
    return database.run_blocking(lambda tx: {f.name: f.value for f in tx.session.query(CloudFact)}, writes=False)


async def test_steps_follow_each_other_to_the_end(database, clock, life):
    while await run_once(database, clock):
        pass
    assert life.seen == list(STEPS)
    assert rows_of(database) == []
    assert {facts(database)[step] for step in STEPS} == {"me"}


@pytest.mark.parametrize("step", STEPS)
async def test_a_controller_killed_in_a_step_is_followed_by_another(database, clock, life, step):
    life.trouble[step] = asyncio.CancelledError()
    for _ in STEPS:
        try:
            assert await run_once(database, clock)
        except asyncio.CancelledError:
            break
    (row,) = rows_of(database)
    assert (row.step, row.lease_holder) == (step, "one")
    assert not await run_once(database, clock, "two"), "the lease is still held"
    clock.now += timedelta(seconds=31)
    while await run_once(database, clock, "two"):
        pass
    assert life.seen == [*STEPS[: STEPS.index(step) + 1], *STEPS[STEPS.index(step) :]]
    assert rows_of(database) == []


async def test_a_controller_that_lost_its_lease_moves_nothing(database, clock, life):
    worker = engine(database, clock)
    (row,) = await database.run(
        lambda tx: workflow_rows.lease_due(tx, worker.holder, clock.now, clock.now + timedelta(seconds=30), 1)
    )
    clock.now += timedelta(seconds=31)
    assert await run_once(database, clock, "two")
    await worker.step(row, START)
    (row,) = rows_of(database)
    assert row.step == "build"
    assert not await database.run(lambda tx: workflow_rows.renew(tx, "ami-1", worker.holder, clock.now))


async def test_failures_are_repeated_after_growing_pauses(database, clock, life):
    pauses = []
    for _ in range(4):
        life.trouble["begin"] = RuntimeError("no disk")
        assert await run_once(database, clock)
        (row,) = rows_of(database)
        assert row.reason == "RuntimeError: no disk"
        pauses.append((row.due - clock.now).total_seconds())
        clock.now = row.due
    assert pauses == [1, 2, 4, 8]
    while await run_once(database, clock):
        pass
    assert rows_of(database) == []


async def test_what_waits_is_asked_again_and_what_is_late_gives_up(database, clock, life):
    life.trouble["build"] = Wait(5, "bricks come")
    assert await run_once(database, clock)
    assert await run_once(database, clock)
    assert not await run_once(database, clock)
    (row,) = rows_of(database)
    assert (row.step, row.reason, row.due) == ("build", "bricks come", clock.now + timedelta(seconds=5))
    clock.now += timedelta(hours=2)
    assert await run_once(database, clock)
    assert rows_of(database) == []
    assert facts(database)["failed"] == "bricks come"


async def test_what_cannot_succeed_gives_up_at_once(database, clock, life):
    life.trouble["begin"] = GiveUp("the ground is a lake")
    assert await run_once(database, clock)
    assert facts(database)["failed"] == "the ground is a lake"
    assert rows_of(database) == []


async def test_the_running_engine_is_woken_by_a_commit(database, clock):
    House.trouble, House.seen = {}, []
    worker = engine(database, clock)
    database.on_commit(worker.committed)
    running = asyncio.create_task(worker.run())
    patience = timedelta(hours=1)
    for number in range(6):
        await database.run(
            lambda tx, number=number: workflow_rows.begin(
                tx, "house", f"ami-{number}", {"owner": "me"}, now=clock.now, patience=patience
            )
        )
    async with asyncio.timeout(60):
        while await database.run(lambda tx: tx.session.query(Workflow).count(), writes=False):
            pass
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(House.seen) == sorted(STEPS * 6)


async def _waiting(database, clock, life):
    """A life that waits for five seconds before its second step, and the engine that took the first."""
    life.trouble["begin"] = Wait(5, "bricks come")
    worker = engine(database, clock)
    await worker.start_due()
    await worker.settled()
    assert life.seen == ["begin"]
    return worker


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("alone", [True, False])
async def test_a_clock_that_is_set_neither_delays_a_step_nor_makes_a_life_late(database, clock, life, hours, alone):
    worker = await _waiting(database, clock, life)
    worker.alone = alone
    clock.set_by += timedelta(hours=hours) * 1.01  # the life has an hour
    clock.now += timedelta(seconds=1)
    await worker.start_due()
    await worker.settled()
    (row,) = rows_of(database) or [None]
    if not alone:  # others' clocks count too: nobody can say which of them is wrong
        assert (row is None) == (hours > 0)
        return
    assert life.seen == ["begin"], "it is not due earlier either"
    assert (row.due - clock(), row.deadline - clock()) == (timedelta(seconds=4), timedelta(seconds=3599))
    clock.now += timedelta(seconds=5)
    while rows_of(database):
        await worker.start_due()
        await worker.settled()
    assert life.seen == ["begin", *STEPS]
    assert "failed" not in facts(database)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_life_that_is_begun_after_the_clock_was_set_is_not_moved(database, clock, life, hours):
    worker = await _waiting(database, clock, life)
    clock.set_by += timedelta(hours=hours)
    clock.now += timedelta(seconds=0.5)
    begun = clock()
    await database.run(
        lambda tx: workflow_rows.begin(
            tx, "house", "ami-2", {"owner": "me"}, now=begun, patience=timedelta(seconds=600)
        )
    )
    clock.now += timedelta(seconds=0.5)
    life.trouble["begin"] = Wait(30, "bricks come")
    await worker.start_due()
    await worker.settled()
    rows = {row.id: row for row in rows_of(database)}
    assert rows["ami-2"].deadline == begun + timedelta(seconds=600)
    assert rows["ami-1"].due == clock() + timedelta(seconds=4)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_clock_is_set_while_a_step_is_at_work(database, clock, life, hours):
    """What the step is followed by is written in the new time, and its lease still keeps others away."""
    worker = engine(database, clock)
    begun, done = asyncio.Event(), asyncio.Event()

    async def slow(self):
        begun.set()
        await done.wait()
        return Wait(7, "bricks come")

    slow_house = type("SlowHouse", (life,), {"begin": slow})
    worker.make = {"house": lambda subject, facts: slow_house(database, clock, subject, facts)}
    await worker.start_due()
    await begun.wait()
    clock.set_by += timedelta(hours=hours)
    clock.now += timedelta(seconds=1)
    await worker.start_due()
    (row,) = rows_of(database)
    assert row.lease_until == clock() + timedelta(seconds=29)
    clock.set_by += timedelta(hours=hours)
    done.set()
    await worker.settled()
    await worker.start_due()
    (row,) = rows_of(database)
    assert (row.due, row.lease_holder) == (clock() + timedelta(seconds=7), None)


async def test_what_cannot_be_moved_now_is_moved_later(database, clock, life, monkeypatch):
    worker = await _waiting(database, clock, life)
    clock.set_by -= timedelta(hours=1)
    monkeypatch.setattr(workflow_rows, "follow_clock", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await worker.start_due()
    monkeypatch.undo()
    await worker.start_due()
    (row,) = rows_of(database)
    assert row.due == clock() + timedelta(seconds=5)


async def test_an_engine_that_starts_after_the_clock_was_set_back_waits_for_no_old_time(database, clock, life):
    await _waiting(database, clock, life)
    present, hours = clock.now, timedelta(hours=10)
    begun = present - timedelta(hours=2)
    await database.run(lambda tx: workflow_rows.begin(tx, "house", "ami-2", {"owner": "me"}, now=begun, patience=hours))
    await database.run(lambda tx: workflow_rows.lease_due(tx, "killed", present, present + LEASE, 1))
    clock.set_by -= timedelta(hours=1)
    worker = engine(database, clock)
    await worker.start_due()
    await worker.settled()
    rows = {row.id: row for row in rows_of(database)}
    assert rows["ami-1"].due == clock() + timedelta(seconds=60), "no pause is longer"
    assert rows["ami-1"].deadline == clock() + timedelta(seconds=60 + 3595), "it has as long as it had"
    assert rows["ami-2"].step == "build", "whose lease it was is dead"
    clock.now += timedelta(seconds=61)
    while rows_of(database):
        await worker.start_due()
        await worker.settled()
    assert sorted(life.seen) == sorted(["begin", *STEPS * 2])


async def test_the_clock_is_set_while_a_lease_is_taken(database, clock, life, monkeypatch):
    take = workflow_rows.lease_due

    def slowly(*args):
        clock.set_by += timedelta(hours=2)
        return take(*args)

    worker = engine(database, clock)
    monkeypatch.setattr(workflow_rows, "lease_due", slowly)
    await worker.start_due()
    await worker.settled()
    assert life.seen == ["begin"]
    assert "failed" not in facts(database)


async def test_where_there_are_others_their_leases_count(database, clock, life):
    await database.run(lambda tx: workflow_rows.lease_due(tx, "other", clock.now, clock.now + LEASE, 1))
    for alone in (False, True):
        worker = engine(database, clock)
        worker.alone = alone
        await worker.start_due()
        await worker.settled()
        assert life.seen == ["begin"] * alone
        await worker.start_due()
        await worker.settled()
    assert life.seen == ["begin", "build"]


async def test_small_differences_of_the_clocks_move_nothing(database, clock, life):
    worker = await _waiting(database, clock, life)
    (before,) = rows_of(database)
    for _ in range(3):
        clock.set_by += timedelta(seconds=2.9)
        await worker.present()
    (row,) = rows_of(database)
    assert (row.due, row.deadline) == (before.due, before.deadline)


async def test_what_a_step_writes_after_its_lease_was_lost_is_refused(database, clock, life):
    """It was paused in the middle of the step, and another controller has gone on."""
    worker = engine(database, clock)
    worker.alone = False
    (row,) = await database.run(
        lambda tx: workflow_rows.lease_due(tx, "one.0", clock.now, clock.now + timedelta(seconds=30), 1)
    )
    clock.now += timedelta(seconds=31)
    assert await run_once(database, clock, "two")
    before = facts(database)
    await worker.step(row, START)
    assert life.seen == ["begin", "begin"], "it ran"
    assert facts(database) == before, "and wrote nothing"


async def test_each_lease_of_one_controller_is_another(database, clock, life):
    holders = []
    worker = engine(database, clock)
    worker._work = lambda row, _now: _note(holders, row)
    for _ in range(2):
        await worker.start_due()
        await worker.settled()
        clock.now += timedelta(seconds=31)
    assert len(set(holders)) == 2


async def _note(holders, row):
    holders.append(row.lease_holder)
