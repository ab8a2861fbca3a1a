"""Metrics come back from a backup that was made while the engine wrote, on a fresh folder."""

import asyncio
import json
import time

from stead_controller.backup import stores
from stead_controller.backup.folder import FolderRepository
from stead_controller.backup.repository import Manifest
from stead_controller.backup.stores import METRICS
from stead_controller.metrics.datum import Identity, Wanted, single
from tests.support import metrics
from tests.support.waiting import wait_for

NOW = int(time.time()) // 3600 * 3_600_000 - 7_200_000
MINUTES = 300


def nothing(_step: str, _done: int, _of: int) -> None:
    """Show no progress."""


def identity(number: int) -> Identity:
    return Identity("111122223333", "My/App", "M", (("Number", str(number)),))


async def write(folder, first, count):
    store = metrics.store_on(folder)
    try:
        await store.write([
            single(identity(number), NOW + 60_000 * minute, "Count", number * 1000 + minute)
            for number in range(first, first + count)
            for minute in range(MINUTES)
        ])  # fmt: skip
    finally:
        await store.close()


async def read(folder, number):
    store = metrics.store_on(folder)
    try:
        [found] = await store.read([Wanted(identity(number), "Sum", NOW, NOW + 60_000 * MINUTES, 60, "Count")])
        return [value for one in found for _, value in one.points]
    finally:
        await store.close()


def rows_on_disk(folder):
    """How many samples the engine has in files, which it writes after two seconds at most."""
    parts = (folder / "data" / "data" / "small").glob("*/*/metadata.json")
    return sum(json.loads(path.read_text())["RowsCount"] for path in parts)


def test_what_was_written_some_seconds_before_comes_back(tmp_path):
    state = tmp_path / "state"
    repository = FolderRepository(tmp_path / "backups")
    repository.begin()
    manifest = Manifest("one", 0, "", "", files={METRICS.listing: ""})
    for _ in metrics.running_in(state / METRICS.name):
        asyncio.run(write(state / METRICS.name, 0, 40))
        wait_for(lambda: rows_on_disk(state / METRICS.name) >= 40 * MINUTES, "what was written is on the disk")
        moment = stores.opened(state, METRICS)
        asyncio.run(write(state / METRICS.name, 40, 40))
        listed = stores.copy(moment, repository, {}, nothing)
        moment.close()
        expected = [asyncio.run(read(state / METRICS.name, number)) for number in (0, 39)]
    (repository.folder / "one").mkdir()
    stores.write_listing(listed, repository.folder / "one" / METRICS.listing)
    assert stores.faults(repository, manifest, METRICS, nothing) == {}

    fresh = tmp_path / "fresh" / METRICS.name
    fresh.mkdir(parents=True)
    assert stores.restore(repository, manifest, METRICS, fresh, nothing) == []

    for _ in metrics.running_in(fresh):
        assert [asyncio.run(read(fresh, number)) for number in (0, 39)] == expected
        assert expected[1] == [39_000 + minute for minute in range(MINUTES)]
        assert asyncio.run(read(fresh, 79)) == [], "of later than the backup"
        asyncio.run(write(fresh, 79, 1))
        # The engine may have answered before that there is none, and says so for a moment.
        wait_for(lambda: len(asyncio.run(read(fresh, 79))) == MINUTES, "what is written now is read")
