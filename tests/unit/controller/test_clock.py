"""Somebody sets the wall clock: it is noticed by one that nobody sets, and no launch is late for it."""

from datetime import UTC, datetime, timedelta

import pytest

from stead_controller import controller
from stead_controller.clock import ClockSteps
from stead_controller.controller import Controller
from stead_controller.initialise import initialise
from stead_controller.settings import Settings

START = datetime(2026, 3, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clocks:
    """Time that passes by both clocks, and the wall clock that is set."""

    def __init__(self):
        self.moment = 1000.0
        self.set_by = timedelta()

    def wall(self):
        return START + timedelta(seconds=self.moment) + self.set_by

    def monotonic(self):
        return self.moment


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def steps(clocks):
    return ClockSteps(clocks.wall, clocks.monotonic)


@pytest.mark.parametrize("by", [HOUR, -HOUR, timedelta(seconds=3), timedelta(seconds=-3)])
def test_a_step_is_found_until_it_is_taken(clocks, steps, by):
    clocks.moment += 500  # however long nobody looked
    clocks.set_by += by
    for _ in range(2):
        look = steps.look()
        assert (look.step, look.now, look.now - look.since) == (by, clocks.wall(), timedelta(seconds=500))
    steps.take(look)
    clocks.moment += 1
    assert steps.look().step == timedelta()


def test_time_that_passes_is_no_step(clocks, steps):
    for _ in range(10):
        clocks.moment += 3600
        clocks.set_by += timedelta(seconds=2.9)  # as NTP does it, little by little
        look = steps.look()
        assert look.step == timedelta()
        steps.take(look)


def test_what_was_set_forward_is_known_for_a_while(clocks, steps):
    for by in (HOUR, -HOUR, 2 * HOUR):
        clocks.moment += 100
        clocks.set_by += by
        steps.take(steps.look())
    assert steps.forward_within(timedelta(seconds=250)) == 3 * HOUR
    clocks.moment += 100
    steps.take(steps.look())
    assert steps.forward_within(timedelta(seconds=250)) == 2 * HOUR
    clocks.moment += 151
    steps.take(steps.look())
    assert steps.forward_within(timedelta(seconds=250)) == timedelta()


async def test_the_housekeeping_takes_it_into_account(tmp_path, empty_database_file, clocks, monkeypatch):
    folder = tmp_path / "controller"
    folder.mkdir(mode=0o700)
    (folder / "stead.sqlite").write_bytes(empty_database_file)
    settings = Settings(state_dir=folder)
    initialise(settings, clocks.wall())
    whole = Controller(settings, clocks.wall)
    whole._clock_steps = ClockSteps(clocks.wall, clocks.monotonic)
    stored = []
    monkeypatch.setattr(controller, "clean_up", lambda _tx, _settings, now, ahead: stored.append((now, ahead)))
    clocks.moment += 15
    clocks.set_by += HOUR
    await whole._clean_up()
    clocks.moment += settings.launch_deadline_seconds
    await whole._clean_up()
    clocks.moment += 1
    await whole._clean_up()
    assert [ahead for _, ahead in stored] == [HOUR, HOUR, timedelta()]
    more = [False, True, True]
    monkeypatch.setattr(controller, "clean_up", lambda *_: more.pop())
    await whole._clean_up()
    assert more == []
    whole.database.close()
