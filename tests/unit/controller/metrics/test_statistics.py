"""Statistics by name, and those of values with weights."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metrics.statistics import Statistic, compute, parse

_WEIGHTED = st.lists(st.tuples(st.integers(-50, 50).map(float), st.integers(1, 5).map(float)), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("Sum", Statistic("Sum")),
        ("p99.5", Statistic("P", high=0.995)),
        ("p0", Statistic("P", high=0)),
        ("p100", Statistic("P", high=1)),
        ("IQM", Statistic("TM", 0.25, 0.75)),
        ("tm90", Statistic("TM", high=0.9)),
        ("WM(10%:90%)", Statistic("WM", 0.1, 0.9)),
        ("TC(:95%)", Statistic("TC", None, 0.95)),
        ("TS(5%:)", Statistic("TS", 0.05, None)),
        ("TM(150:1000)", Statistic("TM", 150, 1000, by_share=False)),
        ("PR(:300)", Statistic("PR", None, 300, by_share=False)),
        ("PR(-2.5:3)", Statistic("PR", -2.5, 3, by_share=False)),
    ],
)
def test_a_statistic_is_taken_apart(text, parsed):
    assert parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["sum", "p", "p101", "p-1", "", "TM", "TM()", "TM(:)", "TM(10%:)x", "TM(10%:90)", "PR(10%:20%)", "TM(9:3)", "TM(3:3)",
     "TM(10%:190%)", "TM(a:b)", "pr90", "TM(1e3:)", "TM(-5%:50%)"],
)  # fmt: skip
def test_anything_else_is_none(text):
    with pytest.raises(ValueError):
        parse(text)


def _spread(values):
    return sorted(value for value, weight in values for _ in range(int(weight)))


@given(_WEIGHTED, st.integers(1, 99))
def test_percentiles_are_those_of_the_single_values(values, percent):
    single = _spread(values)
    expected = statistics.quantiles(single, n=100, method="inclusive")[percent - 1] if len(single) > 1 else single[0]
    assert compute(parse(f"p{percent}"), values) == pytest.approx(expected)
    assert compute(parse("p0"), values) == single[0]
    assert compute(parse("p100"), values) == single[-1]


@given(_WEIGHTED, st.integers(-60, 0), st.integers(1, 60))
def test_bounds_by_value(values, low, high):
    single = _spread(values)
    inside = [value for value in single if low <= value <= high]

    def of(kind):
        return compute(parse(f"{kind}({low}:{high})"), values)

    assert of("TC") == len(inside)
    assert of("TS") == sum(inside)
    assert of("PR") == pytest.approx(100 * len(inside) / len(single))
    assert of("TM") == (pytest.approx(sum(inside) / len(inside)) if inside else None)
    assert of("WM") == pytest.approx(sum(min(max(value, low), high) for value in single) / len(single))


def test_bounds_by_share_and_open_ones():
    values = [(float(value), 1.0) for value in range(1, 101)]
    assert compute(parse("TM(10%:90%)"), values) == 50.5
    assert compute(parse("TC(:50%)"), values) == 50
    assert compute(parse("TC(50%:)"), values) == 50
    assert compute(parse("tm50"), values) == 25.5
    assert compute(parse("PR(91:)"), values) == 10
