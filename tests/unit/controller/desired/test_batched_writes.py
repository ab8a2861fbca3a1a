"""Many writes share a commit, and one that fails takes no other with it."""

import asyncio
import threading

import pytest
from sqlalchemy import select

from stead_controller.db.tables import CloudFact
from stead_controller.desired.batched_writes import Together


def write(tx, fact_names):
    """Add facts; give for each how many there were before."""
    results = []
    for name in fact_names:
        results.append(len(tx.session.scalars(select(CloudFact.name)).all()))
        tx.session.add(CloudFact(name=name, value="x"))
        tx.session.flush()
        if name == "bad":
            raise LookupError("on purpose")
    return results


def names(database):
    return set(database.run_blocking(lambda tx: tx.session.scalars(select(CloudFact.name)).all()))


async def test_all_are_written_in_order_with_few_commits(database):
    commits = []
    database.on_commit(commits.append)
    together = Together(database, write)
    found = await asyncio.gather(*(together.run(f"fact {number}") for number in range(50)))
    assert found == list(range(50))
    assert len(commits) <= 2
    assert names(database) == {f"fact {number}" for number in range(50)}


async def test_one_that_fails_is_undone_alone(database):
    together = Together(database, write)
    calls = [together.run("one"), together.run("bad"), together.run("two")]
    one, failed, two = await asyncio.gather(*calls, return_exceptions=True)
    assert (one, two) == (0, 1)
    assert isinstance(failed, LookupError)
    assert names(database) == {"one", "two"}
    with pytest.raises(LookupError):
        await together.run("bad")
    assert await together.run("three") == 2


async def test_what_hosts_say_does_not_wait_for_many_calls(database):
    order, held = [], threading.Event()

    def note(name):
        return lambda tx: order.append(name)

    together = Together(database, lambda _tx, items: [order.append(item) for item in items])
    holder = asyncio.create_task(database.run(lambda _tx: held.wait(20)))
    await asyncio.sleep(0)
    calls = [asyncio.create_task(database.run(note(number))) for number in range(3)]
    await asyncio.sleep(0)
    report = asyncio.create_task(together.run("report"))
    for _ in range(3):  # turns of the loop until its transaction waits, too
        await asyncio.sleep(0)
    held.set()
    await asyncio.gather(holder, report, *calls)
    assert order == ["report", 0, 1, 2]
