"""What becomes due by time alone, and how much of it one transaction does."""

from datetime import timedelta
from pathlib import Path

import pytest

from stead_controller.db.tables import Instance, Reservation, Tag
from stead_controller.metering import amounts
from stead_controller.metering.amounts import Count
from stead_controller.settings import Settings
from stead_controller.workflows import housekeeping
from tests.support import rows
from tests.support.rows import NOW

SETTINGS = Settings(Path("/nowhere"))


@pytest.fixture
def terminated(database, world):
    """Instances that were terminated so many seconds ago; gives their ids."""

    def make(*seconds):
        def add(tx):
            made = [
                rows.launch(tx, world, world.one, number=number, tags={"a": "b"}, state="terminated")
                for number in range(len(seconds))
            ]
            for instance, ago in zip(made, seconds, strict=True):
                instance.state_changed = NOW - timedelta(seconds=ago)
            return [instance.id for instance in made]

        return database.run_blocking(add)

    return make


def left(database):
    def look(tx):
        ids = {each.id for each in tx.session.query(Instance)}
        counts = tx.session.query(Reservation).count(), tx.session.query(Tag).count()
        return ids, counts

    return database.run_blocking(look)


def test_terminated_instances_are_forgotten_after_an_hour(database, terminated):
    seconds = SETTINGS.terminated_kept_seconds
    _, stays = terminated(seconds, seconds - 1)
    assert database.run_blocking(lambda tx: housekeeping.clean_up(tx, SETTINGS, NOW)) is False
    assert left(database) == ({stays}, (1, 1))


def test_counters_are_forgotten_with_their_instance(database, terminated):
    goes, stays = terminated(SETTINGS.terminated_kept_seconds, 0)
    counts = [Count(one, "n", "a", 5) for one in (goes, stays)]
    database.run_blocking(lambda tx: amounts.grown(tx, counts))
    database.run_blocking(lambda tx: housekeeping.clean_up(tx, SETTINGS, NOW))
    assert database.run_blocking(lambda tx: amounts.grown(tx, counts)) == [5, 0]


def test_of_very_many_the_rest_is_due_at_once(database, terminated, monkeypatch):
    """More can end while one waits than a transaction deletes: rows of terminated instances would grow without end."""
    monkeypatch.setattr(housekeeping, "_BATCH", 2)
    terminated(*[SETTINGS.terminated_kept_seconds] * 5)
    runs = [database.run_blocking(lambda tx: housekeeping.clean_up(tx, SETTINGS, NOW)) for _ in range(3)]
    assert runs == [True, True, False]
    assert left(database) == (set(), (0, 0))
