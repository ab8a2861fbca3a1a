"""The look for what time alone makes due: what it begins and when, by a time that is only counted."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import bindparam, exists

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Workflow
from stead_controller.workflows.due_work import DueWork, Work
from stead_controller.workflows.woken_loop import always
from tests.support import virtual_time

START = datetime(2026, 3, 4, tzinfo=UTC)
DUE = DueRows(exists().where(Workflow.due <= bindparam("now")))
NEVER = DueRows(exists().where(Workflow.due == bindparam("never")), {"never": timedelta(days=9)})


class Looks:
    """A database without threads, the works that looks begin, and when they did."""

    def __init__(self, database):
        self.database = database
        self.away = set()  # looks, by their number, for which there is no database
        self.looks = 0
        self.begun = []
        self.takes = 0.0
        self.fails = False

    async def run(self, function, *, writes):
        assert not writes
        self.looks += 1
        if self.looks in self.away:
            raise ConnectionError("the database is away")
        return self.database.run_blocking(function, writes=False)

    async def present(self):
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def work(self, name, due, **more):
        async def do():
            self.begun.append((name, asyncio.get_running_loop().time()))
            await virtual_time.passes(self.takes)
            if self.fails:
                raise OSError(name)

        return Work(name, due, do, **more)

    def pass_(self, seconds, *works, leads=always):
        async def look():
            running = asyncio.create_task(DueWork(self, self.present, *works, leads=leads).run())
            await virtual_time.passes(seconds)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert len(asyncio.all_tasks()) == 1

        virtual_time.run(look())
        return self.begun


@pytest.fixture
def looks(database, run):
    """Begin a workflow that is due after two seconds."""
    row = Workflow(id="i-1", kind="house", step="begin", facts="{}", started=START, deadline=START)
    row.due = START + timedelta(seconds=2)
    run(lambda tx: tx.session.add(row))
    return Looks(database)


def test_work_begins_when_it_is_due_and_again_while_it_is(looks):
    assert looks.pass_(4.5, looks.work("due", DUE), looks.work("not", NEVER)) == [("due", 2), ("due", 3), ("due", 4)]
    assert looks.looks == 4


def test_work_with_news_begins_although_no_row_says_so(looks):
    news = iter([False, True, False])
    assert looks.pass_(3.5, looks.work("told", NEVER, has_news=lambda: next(news))) == [("told", 2)]


def test_work_is_not_begun_again_while_it_is_done_and_holds_up_no_other(looks):
    looks.takes = 1.5
    both = looks.work("one", DUE), looks.work("other", DUE)
    assert looks.pass_(5.25, *both) == [("one", 2), ("other", 2), ("one", 4), ("other", 4)]


def test_work_that_fails_is_told_of_and_done_again(looks, caplog):
    looks.fails = True
    assert looks.pass_(3.5, looks.work("due", DUE)) == [("due", 2), ("due", 3)]
    logged = [(one.levelno, one.message, one.work) for one in caplog.records if one.name.endswith("due_work")]
    assert logged == [(logging.ERROR, "background_work_failed", "due")] * 2


def test_a_look_that_fails_is_told_of_and_repeated(looks, caplog):
    looks.away = {1, 2}
    assert looks.pass_(3.5, looks.work("due", DUE)) == [("due", 3)]
    assert [one.message for one in caplog.records if one.name.endswith("due_work")] == ["not_looked_for_due_work"] * 2


def test_who_does_not_lead_begins_only_what_anybody_may(looks):
    leads = iter([False, False, True])
    works = looks.work("one's", DUE), looks.work("anybody's", DUE, anybody=True)
    begun = looks.pass_(3.5, *works, leads=lambda: next(leads))
    assert begun == [("anybody's", 2), ("anybody's", 3), ("one's", 3)]
