"""Lives go on step by step, whoever is killed, and end once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.db.tables import CloudFact, Workflow
from stead_controller.resources import workflow_rows
from stead_controller.workflows.engine import Done, Engine, GiveUp, Go, Life, Wait

START = datetime(2026, 3, 4, tzinfo=UTC)
STEPS = ("begin", "build", "polish")


class Clock:
    """Time that the test moves."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


class House(Life):
    """Writes a row per step, which may be there already; its trouble is told by the test."""

    kind = "house"
    trouble: dict
    seen: list

    async def begin(self):
        return await self._do("begin", Go(self.build))

    async def build(self):
        return await self._do("build", Go(self.polish))

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
    return Engine(database, clock, {"house": lambda subject, facts: House(database, clock, subject, facts)})


async def turn(database, clock, holder="one"):
    """Run one step that is due; give whether there was one."""
    worker = engine(database, clock)
    worker.holder = holder
    lease = timedelta(seconds=30)
    due = await database.run(lambda tx: workflow_rows.lease_due(tx, holder, clock.now, clock.now + lease, 1))
    for row in due:
        await worker.step(row)
    return bool(due)


def rows_of(database):
    return database.run_blocking(lambda tx: tx.session.query(Workflow).all(), writes=False)


def facts(database):
    return database.run_blocking(lambda tx: {f.name: f.value for f in tx.session.query(CloudFact)}, writes=False)


async def test_steps_follow_each_other_to_the_end(database, clock, life):
    while await turn(database, clock):
        pass
    assert life.seen == list(STEPS)
    assert rows_of(database) == []
    assert {facts(database)[step] for step in STEPS} == {"me"}


@pytest.mark.parametrize("step", STEPS)
async def test_a_controller_killed_in_a_step_is_followed_by_another(database, clock, life, step):
    life.trouble[step] = asyncio.CancelledError()
    for _ in STEPS:
        try:
            assert await turn(database, clock)
        except asyncio.CancelledError:
            break
    (row,) = rows_of(database)
    assert (row.step, row.lease_holder) == (step, "one")
    assert not await turn(database, clock, "two"), "the lease is still held"
    clock.now += timedelta(seconds=31)
    while await turn(database, clock, "two"):
        pass
    assert life.seen == [*STEPS[: STEPS.index(step) + 1], *STEPS[STEPS.index(step) :]]
    assert rows_of(database) == []


async def test_a_controller_that_lost_its_lease_moves_nothing(database, clock, life):
    worker = engine(database, clock)
    (row,) = await database.run(
        lambda tx: workflow_rows.lease_due(tx, worker.holder, clock.now, clock.now + timedelta(seconds=30), 1)
    )
    clock.now += timedelta(seconds=31)
    assert await turn(database, clock, "two")
    await worker.step(row)
    (row,) = rows_of(database)
    assert row.step == "build"
    assert not await database.run(lambda tx: workflow_rows.renew(tx, "ami-1", worker.holder, clock.now))


async def test_failures_are_repeated_after_growing_pauses(database, clock, life):
    pauses = []
    for _ in range(4):
        life.trouble["begin"] = RuntimeError("no disk")
        assert await turn(database, clock)
        (row,) = rows_of(database)
        assert row.reason == "RuntimeError: no disk"
        pauses.append((row.due - clock.now).total_seconds())
        clock.now = row.due
    assert pauses == [1, 2, 4, 8]
    while await turn(database, clock):
        pass
    assert rows_of(database) == []


async def test_what_waits_is_asked_again_and_what_is_late_gives_up(database, clock, life):
    life.trouble["build"] = Wait(5, "bricks come")
    assert await turn(database, clock)
    assert await turn(database, clock)
    assert not await turn(database, clock)
    (row,) = rows_of(database)
    assert (row.step, row.reason, row.due) == ("build", "bricks come", clock.now + timedelta(seconds=5))
    clock.now += timedelta(hours=2)
    assert await turn(database, clock)
    assert rows_of(database) == []
    assert facts(database)["failed"] == "bricks come"


async def test_what_cannot_succeed_gives_up_at_once(database, clock, life):
    life.trouble["begin"] = GiveUp("the ground is a lake")
    assert await turn(database, clock)
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
    async with asyncio.timeout(10):
        while await database.run(lambda tx: tx.session.query(Workflow).count(), writes=False):
            pass
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(House.seen) == sorted(STEPS * 6)
