"""The names of statistics that CloudWatch documents, and what is none."""

import pytest

from stead_controller.resources.metrics.statistics import SIMPLE, Percentile, Range, Statistic, parse


@pytest.mark.parametrize("name", SIMPLE)
def test_simple_ones_are_themselves(name: str) -> None:
    assert parse(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p0", Percentile(0)),
        ("p50", Percentile(50)),
        ("p99.99", Percentile(99.99)),
        ("p100", Percentile(100)),
        ("tm90", Range("tm", None, 90, True)),
        ("tc99.5", Range("tc", None, 99.5, True)),
        ("IQM", Range("tm", 25, 75, True)),
        ("TM(10%:90%)", Range("tm", 10, 90, True)),
        ("tm(10%:90%)", Range("tm", 10, 90, True)),
        ("WM(:95%)", Range("wm", None, 95, True)),
        ("TS(80%:)", Range("ts", 80, None, True)),
        ("TC(0.005:0.030)", Range("tc", 0.005, 0.03, False)),
        ("PR(:300)", Range("pr", None, 300, False)),
        ("PR(100:2000)", Range("pr", 100, 2000, False)),
    ],
)
def test_names(name: str, expected: Statistic) -> None:
    assert parse(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "", "average", "p", "p101", "p-1", "p100.5", "P50", "tm", "TM()", "TM(:)", "TM(10%:90)", "TM(90%:10%)", "TM(5:5)",
        "PR(10%:20%)", "TM(%:90%)", "TM(10%:%)", "TM(:101%)", "XX(1:2)", "pr50", "p50 ",
    ],
)  # fmt: skip
def test_what_is_none(name: str) -> None:
    assert parse(name) is None
