"""The record of searches that found no host: bounded, equal ones together, counted within a part of the time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stead_controller.request.refused_places import PER_ZONE, Counts, RefusedPlaces, Refusing, Wanted

BEGIN = datetime(2026, 3, 4, tzinfo=UTC)
WANTED = Wanted("t3.micro", "a", 2, 1 << 30)
COUNTS = Counts(3, (Refusing("memory", 3, "0 of 1024 MiB of memory are free"),))


class Time:
    """Both clocks; counting takes some seconds."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.counted = 0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.passed)

    def counting(self, seconds: float, counts: Counts = COUNTS) -> Callable[[], Counts]:
        def count() -> Counts:
            self.passed += seconds
            self.counted += 1
            return counts

        return count


def _made() -> tuple[RefusedPlaces, Time]:
    time = Time()
    return RefusedPlaces(time.now, lambda: time.passed), time


def test_equal_searches_are_one_and_the_newest_is_first() -> None:
    refused, time = _made()
    other = replace(WANTED, zone="b")
    refused.add(WANTED, time.counting(0))
    time.passed = 5
    refused.add(other, time.counting(0))
    time.passed = 9
    refused.add(WANTED, time.counting(0, Counts(4, ())))
    first, second = refused.newest()
    assert (first.wanted, first.times, first.first, first.last) == (WANTED, 2, BEGIN, BEGIN + timedelta(seconds=9))
    assert first.counts == Counts(4, ())
    assert (second.wanted, second.times, second.counts) == (other, 1, COUNTS)
    assert [one.wanted for one in refused.newest("b")] == [other]
    assert refused.newest("c") == []


def test_of_each_zone_the_last_ones_are_there() -> None:
    refused, time = _made()
    refused.add(replace(WANTED, zone="b"), time.counting(0))
    for vcpus in range(PER_ZONE + 5):
        refused.add(replace(WANTED, vcpus=vcpus), time.counting(0))
        if vcpus == 50:
            refused.add(replace(WANTED, vcpus=0), time.counting(0))  # an old one that came again is a new one
    numbers = {one.wanted.vcpus for one in refused.newest("a")}
    assert len(numbers) == PER_ZONE
    assert 0 in numbers
    assert not numbers & set(range(1, 6))
    assert len(refused.newest("b")) == 1


def test_counting_takes_a_twentieth_of_the_time() -> None:
    refused, time = _made()
    refused.add(WANTED, time.counting(2))
    time.passed = 2 + 37
    refused.add(WANTED, time.counting(2))
    refused.add(replace(WANTED, vcpus=9), time.counting(2))
    assert time.counted == 1
    found = {one.wanted.vcpus: one for one in refused.newest()}
    assert (found[2].times, found[2].counts) == (2, COUNTS), "those of the last equal one"
    assert found[9].counts is None
    time.passed = 2 + 38
    refused.add(replace(WANTED, vcpus=9), time.counting(2))
    assert time.counted == 2
    assert refused.newest()[0].counts == COUNTS
