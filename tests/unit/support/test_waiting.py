"""What was awaited in vain says why."""

import pytest

from tests.support import waiting
from tests.support.waiting import wait_for


def test_the_first_value_that_is_one_is_given() -> None:
    values = iter([None, False, "", "found"])
    assert wait_for(lambda: next(values), "something is found", 5, poll=0) == "found"


def test_in_vain_it_says_what_and_why_and_asks_only_then() -> None:
    asked: list[int] = []

    def explain() -> str:
        asked.append(1)
        return "the console ends with: panic"

    assert wait_for(lambda: "found", "something is found", explain=explain) == "found"
    assert asked == []
    with pytest.raises(AssertionError, match=r"(?s)waited 0 s in vain until pigs fly\n.*panic"):
        wait_for(lambda: None, "pigs fly", 0, explain=explain)
    assert asked == [1]


class Clock:
    """Time that passes only when it is slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize("poll", [0.05, 0.2])
def test_it_looks_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch, poll: float) -> None:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    wait_for(lambda: clock.now > 30, "half a minute is over", 30, poll)
    assert clock.slept[0] == poll
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == 0.5
    assert clock.now < 31


def test_who_measures_has_the_pause_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    wait_for(lambda: clock.now > 10, "ten seconds are over", 30, 0.005)
    assert set(clock.slept) == {0.005}
