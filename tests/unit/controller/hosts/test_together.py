"""Many writes share a commit, and one that fails takes no other with it."""

import asyncio

import pytest
from sqlalchemy import select

from stead_controller.db.tables import CloudFact
from stead_controller.hosts.together import Together


def add(name):
    def write(tx):
        known = tx.session.scalars(select(CloudFact.name)).all()
        tx.session.add(CloudFact(name=name, value="x"))
        return len(known)

    return write


def fail(tx):
    tx.session.add(CloudFact(name="half", value="x"))
    tx.session.flush()
    raise LookupError("on purpose")


def names(database):
    return set(database.run_blocking(lambda tx: tx.session.scalars(select(CloudFact.name)).all()))


async def test_all_are_written_in_order_with_few_commits(database):
    commits = []
    database.on_commit(commits.append)
    together = Together(database)
    found = await asyncio.gather(*(together.run(add(f"fact {number}")) for number in range(50)))
    assert found == list(range(50))
    assert len(commits) <= 2
    assert names(database) == {f"fact {number}" for number in range(50)}


async def test_one_that_fails_is_undone_alone(database):
    together = Together(database)
    calls = [together.run(add("one")), together.run(fail), together.run(add("two"))]
    one, failed, two = await asyncio.gather(*calls, return_exceptions=True)
    assert (one, two) == (0, 1)
    assert isinstance(failed, LookupError)
    assert names(database) == {"one", "two"}
    with pytest.raises(LookupError):
        await together.run(fail)
    assert await together.run(add("three")) == 2
