"""A bucket is counted after it was written to, whoever does that when, and seldom if it is large."""

import asyncio
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select

from stead_controller.db.tables import BucketSize, UsageAmount
from stead_controller.object_store import bucket_counting, listings
from stead_controller.object_store.backend import Ask, Backend, BackendError
from stead_controller.object_store.bucket_counting import BucketCounting, BucketWrites
from stead_controller.object_store.forwarding import BackendRefusal
from stead_controller.resources.storage import bucket_sizes
from tests.support.rows import NOW

ACCOUNT = "1" * 12


class Controller:
    """What one controller has in memory; its server tells sizes, of which `counted` says whose were asked for."""

    def __init__(self, database):
        self.database, self.writes = database, BucketWrites(database)
        self.counting = BucketCounting(database, None, self.writes, lambda: NOW)
        self.sizes, self.counted = {}, []
        self.meanwhile = None

    async def size_of(self, backend, name):
        del backend
        self.counted.append(name)
        if self.meanwhile is not None:
            await self.meanwhile()
        found = self.sizes[name]
        if isinstance(found, Exception):
            raise found
        return found

    async def run(self):
        """Count; return whose sizes were asked for."""
        self.counted = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bucket_counting, "size_of", self.size_of)
            await self.counting.run()
        return self.counted


@pytest.fixture
def controller(database, monkeypatch):
    monkeypatch.setattr(bucket_counting, "_PAUSE", 0)
    for name in ("a-1", "b-1"):
        database.run_blocking(lambda tx, name=name: bucket_sizes.begin(tx, name, name[0], ACCOUNT, NOW))
    return Controller(database)


def sizes(database):
    query = select(BucketSize.backend_name, BucketSize.bytes, BucketSize.written)
    return {row[0]: tuple(row[1:]) for row in database.run_blocking(lambda tx: tx.connection.execute(query).all())}


async def write(controller, name):
    async with controller.writes.writing(name):
        pass


def test_only_the_first_write_is_written_down_until_the_bucket_is_counted(database, controller):
    async def run():
        await asyncio.gather(*(write(controller, "a-1") for _ in range(5)))
        await write(controller, "a-1")
        assert sizes(database)["a-1"] == (0, 1)
        controller.sizes["a-1"] = 7
        assert await controller.run() == ["a-1"]
        assert await controller.run() == []
        await write(controller, "a-1")
        assert sizes(database) == {"a-1": (7, 2), "b-1": (0, 0)}

    asyncio.run(run())


def test_a_write_is_known_after_its_controller_was_killed(database, controller):
    async def run():
        await write(controller, "a-1")
        other = Controller(database)
        other.sizes["a-1"] = 9
        assert await other.run() == ["a-1"]
        await write(controller, "a-1")  # it still lives, and knows no count
        controller.sizes["a-1"] = 11
        assert await controller.run() == ["a-1"]
        assert sizes(database)["a-1"] == (11, 1)

    asyncio.run(run())


def test_what_is_written_while_a_bucket_is_counted_is_counted_again(database, controller):
    async def run():
        controller.sizes["a-1"] = 1
        async with controller.writes.writing("a-1"):
            assert await controller.run() == ["a-1"]
        assert await controller.run() == ["a-1"], "a write had begun before and was not over"
        assert await controller.run() == []
        await write(controller, "a-1")
        controller.meanwhile = lambda: write(controller, "a-1")
        assert await controller.run() == ["a-1"]
        controller.meanwhile = None
        assert await controller.run() == ["a-1"]
        assert await controller.run() == []

    asyncio.run(run())


def test_a_bucket_is_written_to_until_the_last_write_ends(controller):
    async def run():
        async with controller.writes.writing("a-1"):
            await write(controller, "a-1")
            assert not controller.writes.forget("a-1")
        assert controller.writes.forget("a-1")
        assert not controller.writes._under_way, "no name is kept for ever"

    asyncio.run(run())


def test_a_write_that_was_broken_off_before_it_was_noted_is_noted_by_the_next(database, controller):
    async def run():
        first = asyncio.ensure_future(write(controller, "a-1"))
        await asyncio.sleep(0)
        controller.writes._noted["a-1"].cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        before = sizes(database)["a-1"][1]
        await write(controller, "a-1")
        assert sizes(database)["a-1"] == (0, before + 1)

    asyncio.run(run())


def test_a_bucket_that_cannot_be_counted_keeps_its_size_and_is_tried_again(database, controller, caplog):
    async def run():
        controller.sizes |= {"a-1": 5, "b-1": 6}
        for name in ("a-1", "b-1"):
            await write(controller, name)
        await controller.run()
        for name in ("a-1", "b-1"):
            await write(controller, name)
        controller.sizes |= {"a-1": BackendRefusal(500, "InternalError", "no"), "b-1": BackendRefusal(404, "No", "no")}
        assert await controller.run() == ["a-1", "b-1"]
        assert [(each.message, each.bucket, each.detail) for each in caplog.records] == [
            ("bucket_not_counted", "a-1", "no")
        ]
        assert {name: found[0] for name, found in sizes(database).items()} == {"a-1": 5, "b-1": 0}
        controller.sizes["a-1"] = 8
        assert await controller.run() == ["a-1"]
        assert sizes(database)["a-1"][0] == 8

    asyncio.run(run())


def test_a_large_bucket_is_counted_less_often(controller, monkeypatch):
    monkeypatch.setattr(bucket_counting, "_PAUSE", 1e9)

    async def run():
        controller.sizes |= {"a-1": 1, "b-1": 2}
        await write(controller, "a-1")
        assert await controller.run() == ["a-1"]
        for name in ("a-1", "b-1"):
            await write(controller, name)
        assert await controller.run() == ["b-1"]

    asyncio.run(run())


def test_after_a_count_of_two_seconds_it_is_not_counted_for_two_hundred(controller, monkeypatch):
    monkeypatch.setattr(bucket_counting, "_PAUSE", 100)
    counted = [1000.0]

    async def pass_two():
        counted[0] += 2

    async def run():
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: counted[0])
        controller.sizes["a-1"] = 1
        controller.meanwhile = pass_two
        await write(controller, "a-1")
        assert await controller.run() == ["a-1"]
        await write(controller, "a-1")
        counted[0] = 1201
        assert await controller.run() == []
        counted[0] = 1202
        assert await controller.run() == ["a-1"]
        counted[0] = 5000
        assert await controller.run() == []
        assert not controller.counting._not_before, "no name is kept for ever"

    asyncio.run(run())


def test_what_is_kept_is_billed_each_five_minutes_and_nothing_is_written_before(database, controller):
    clock, writing = [NOW], []

    class Watched:
        async def run(self, function, *, writes=True, dry_run=False):
            writing.append(writes)
            return await database.run(function, writes=writes, dry_run=dry_run)

    def billed():
        return database.run_blocking(lambda tx: tx.session.scalars(select(UsageAmount.amount)).all())

    async def run():
        controller.sizes["a-1"] = 12_000
        await write(controller, "a-1")
        await controller.run()
        counting = BucketCounting(Watched(), None, controller.writes, lambda: clock[0])
        clock[0] = NOW + timedelta(seconds=299)
        await counting.run()
        assert (billed(), writing) == ([], [False, False])
        clock[0] = NOW + timedelta(seconds=300)
        await counting.run()
        assert billed() == [1000]

    asyncio.run(run())


@pytest.mark.parametrize("status", [404, 403])
def test_only_an_upload_that_has_ended_meanwhile_counts_nothing(monkeypatch, status):
    def pages(*written):
        async def listed(*_):
            for each in written:
                yield ET.fromstring(each)
                if "Part" in each:
                    raise BackendRefusal(status, "NoSuchUpload", "ended")

        return listed

    monkeypatch.setattr(listings, "versions", pages("<a><Version><Size>5</Size></Version></a>"))
    monkeypatch.setattr(listings, "uploads", pages("<a><Upload><Key>k</Key><UploadId>u</UploadId></Upload></a>"))
    monkeypatch.setattr(listings, "parts", pages("<a><Part><Size>7</Size></Part></a>"))
    size = bucket_counting.size_of(None, "a-1")
    if status == 404:
        assert asyncio.run(size) == 5
    else:
        with pytest.raises(BackendRefusal):
            asyncio.run(size)


def test_what_is_no_bucket_of_ours_is_forgotten(controller):
    async def run():
        await write(controller, "absent")
        assert controller.writes.noted == {"absent"}
        assert await controller.run() == []
        assert controller.writes.noted == frozenset()

    asyncio.run(run())


def test_a_write_that_cannot_be_noted_is_not_done_and_noted_the_next_time(database, controller):
    async def run():
        given, controller.writes._transactions = controller.writes._transactions, Broken()
        with pytest.raises(OSError, match="full"):
            await write(controller, "a-1")
        controller.writes._transactions = given
        await write(controller, "a-1")
        assert sizes(database)["a-1"] == (0, 1)

    asyncio.run(run())


class Broken:
    """A database that is not there."""

    async def run(self, function, *, writes=True, dry_run=False):
        del function, writes, dry_run
        raise OSError("full")


def test_the_server_is_asked_to_write_only_what_was_noted():
    entered = []

    class Refusing:
        async def __aenter__(self):
            raise BackendError("not noted")

        async def __aexit__(self, *_):
            pass

    class Absent:
        async def place(self):
            raise BackendError("absent")

        def close(self):
            pass

    def writing(name):
        entered.append(name)
        return Refusing()

    async def run():
        backend = Backend(Absent(), writing)
        for method in ("PUT", "POST", "DELETE"):
            with pytest.raises(BackendError, match="not noted"):
                await backend.send(Ask(method, "/bucket/a/b"))
        with pytest.raises(BackendError, match="absent"):
            await backend.send(Ask("GET", "/bucket/a/b", body=iter(())))
        await backend.close()

    asyncio.run(run())
    assert entered == ["bucket"] * 3
