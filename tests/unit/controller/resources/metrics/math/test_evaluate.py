"""Expressions over series: each function and operator, by hand, and by what must always hold."""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.metrics.math.evaluate import Search, evaluate, plan
from stead_controller.resources.metrics.math.functions import ABSENT, FUNCTIONS
from stead_controller.resources.metrics.math.series import Series, Span

MINUTE = 60_000
SPAN = Span(0, 4 * MINUTE)


def series(*values: float | None, period: int = 60) -> Series:
    """A value each minute; None is a missing one."""
    return Series({at * MINUTE: float(value) for at, value in enumerate(values) if value is not None}, period)


A = series(1, 2, None, 4)
B = series(10, None, 30, 40)
MEASURED = {"a": A, "b": B, "empty": Series({}, 60)}


def worth(text: str, found: dict[Search, list[Series]] | None = None, **more: Any) -> Any:
    """An expression's data points by minute; a list of them for several series."""
    measured = {**MEASURED, **more}
    planned = plan({"x": text}, list(measured))
    value = evaluate(planned, measured, found or {}, SPAN, {})["x"]
    if isinstance(value, list):
        return [{at // MINUTE: one for at, one in each.points.items()} for each in value]
    return {at // MINUTE: one for at, one in value.points.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", {0: 1, 1: 2, 3: 4}),
        ("a + b", {0: 11, 3: 44}),
        ("b - a", {0: 9, 3: 36}),
        ("a * 2", {0: 2, 1: 4, 3: 8}),
        ("10 / a", {0: 10, 1: 5, 3: 2.5}),
        ("a / (a - 1)", {1: 2, 3: 4 / 3}),
        ("a ^ 2", {0: 1, 1: 4, 3: 16}),
        ("(0 - a) ^ 0.5", {}),
        ("-a", {0: -1, 1: -2, 3: -4}),
        ("a > 1", {0: 0, 1: 1, 3: 1}),
        ("a >= 2 AND a < 4", {0: 0, 1: 1, 3: 0}),
        ("a == 1 || a != a", {0: 1, 1: 0, 3: 0}),
        ("a == 2 OR a == 1", {0: 1, 1: 1, 3: 0}),
        ("a <= 1", {0: 1, 1: 0, 3: 0}),
        ("3", {0: 3, 1: 3, 2: 3, 3: 3}),
        ("[a, b] * 2", [{0: 2, 1: 4, 3: 8}, {0: 20, 2: 60, 3: 80}]),
        ("a + [a, b]", [{0: 2, 1: 4, 3: 8}, {0: 11, 3: 44}]),
        ("SUM(a)", {0: 7, 1: 7, 2: 7, 3: 7}),
        ("AVG(a)", dict.fromkeys(range(4), 7 / 3)),
        ("MIN(a)", dict.fromkeys(range(4), 1)),
        ("MAX(a)", dict.fromkeys(range(4), 4)),
        ("STDDEV(a)", dict.fromkeys(range(4), statistics.pstdev([1, 2, 4]))),
        ("DATAPOINT_COUNT(a)", dict.fromkeys(range(4), 3)),
        ("DATAPOINT_COUNT(empty)", dict.fromkeys(range(4), 0)),
        ("AVG(empty)", {}),
        ("SUM([a, b])", {0: 11, 1: 2, 2: 30, 3: 44}),
        ("AVG([a, b])", {0: 5.5, 1: 2, 2: 30, 3: 22}),
        ("MIN([a, b])", {0: 1, 1: 2, 2: 30, 3: 4}),
        ("MAX([a, b])", {0: 10, 1: 2, 2: 30, 3: 40}),
        ("STDDEV([a, b])", {0: 4.5, 1: 0, 2: 0, 3: 18}),
        ("DATAPOINT_COUNT([a, b])", {0: 2, 1: 1, 2: 1, 3: 2}),
        ("ABS(0 - a)", {0: 1, 1: 2, 3: 4}),
        ("CEIL(a / 3)", {0: 1, 1: 1, 3: 2}),
        ("FLOOR(a / 3)", {0: 0, 1: 0, 3: 1}),
        ("LOG10(b)", {0: 1, 2: math.log10(30), 3: math.log10(40)}),
        ("LOG10(a - 1)", {1: 0, 3: math.log10(3)}),
        ("LOG(a - 1)", {1: 0, 3: math.log(3)}),
        ("ABS([a])", [{0: 1, 1: 2, 3: 4}]),
        ("ABS(0 - 2)", dict.fromkeys(range(4), 2)),
        ("DIFF(a)", {1: 1, 3: 2}),
        ("DIFF_TIME(a)", {1: 60, 3: 120}),
        ("RATE(b)", {2: 20 / 120, 3: 10 / 60}),
        ("DIFF([a])", [{1: 1, 3: 2}]),
        ("RUNNING_SUM(a)", {0: 1, 1: 3, 3: 7}),
        ("RUNNING_SUM([a])", [{0: 1, 1: 3, 3: 7}]),
        ("FILL(a, 0)", {0: 1, 1: 2, 2: 0, 3: 4}),
        ("FILL(a, b)", {0: 1, 1: 2, 2: 30, 3: 4}),
        ("FILL(a, REPEAT)", {0: 1, 1: 2, 2: 2, 3: 4}),
        ("FILL(a, LINEAR)", {0: 1, 1: 2, 2: 3, 3: 4}),
        ("FILL(a * a, LINEAR)", {0: 1, 1: 4, 2: 10, 3: 16}),
        ("FILL(DIFF(a), REPEAT)", {1: 1, 2: 1, 3: 2}),
        ("FILL(IF(a < 2, a), LINEAR)", {0: 1, 1: 1, 2: 1, 3: 1}),
        ("FILL([a, b], 0)", [{0: 1, 1: 2, 2: 0, 3: 4}, {0: 10, 1: 0, 2: 30, 3: 40}]),
        ("FILL(empty, 5)", dict.fromkeys(range(4), 5)),
        ("IF(a > 1, b, 0 - 1)", {0: -1, 3: 40}),
        ("IF(a > 1, 7)", {1: 7, 3: 7}),
        ("IF(a > 1, a, b)", {0: 10, 1: 2, 3: 4}),
        ("IF(1, a, b)", {0: 1, 1: 2, 3: 4}),
        ("IF(0, a, b)", {0: 10, 2: 30, 3: 40}),
        ("IF(0, a)", {}),
        ("METRICS('a')", [{0: 1, 1: 2, 3: 4}]),
        ("[METRICS('a'), b]", [{0: 1, 1: 2, 3: 4}, {0: 10, 2: 30, 3: 40}]),
        ("METRIC_COUNT(METRICS())", dict.fromkeys(range(4), 3)),
        ("FIRST([a, b])", {0: 1, 1: 2, 3: 4}),
        ("FIRST(a)", {0: 1, 1: 2, 3: 4}),
        ("METRIC_COUNT(a)", dict.fromkeys(range(4), 1)),
        ("LAST([a, b])", {0: 10, 2: 30, 3: 40}),
        ("SORT([a, b], AVG, DESC, 1)", [{0: 10, 2: 30, 3: 40}]),
        ("SORT([b, a, empty], MAX, ASC)", [{0: 1, 1: 2, 3: 4}, {0: 10, 2: 30, 3: 40}, {}]),
        ("SLICE([a, b], 1)", {0: 10, 2: 30, 3: 40}),
        ("SLICE([a, b], 0, 1)", [{0: 1, 1: 2, 3: 4}]),
        ("SLICE([a, b], 0)", {0: 1, 1: 2, 3: 4}),
        ("SLICE([a, b], 2)", {}),
        ("SLICE([a, b], 5)", {}),
        ("FIRST(REMOVE_EMPTY([empty]))", {}),
        ("REMOVE_EMPTY([empty, a])", [{0: 1, 1: 2, 3: 4}]),
        ("PERIOD(a)", dict.fromkeys(range(4), 60)),
        ("TIME_SERIES(2) + a", {0: 3, 1: 4, 3: 6}),
        ("MINUTE(a)", {0: 0, 1: 1, 3: 3}),
        ("HOUR(a)", {0: 0, 1: 0, 3: 0}),
        ("DAY(a)", {0: 4, 1: 4, 3: 4}),
        ("DATE(a)", {0: 1, 1: 1, 3: 1}),
        ("MONTH(a)", {0: 1, 1: 1, 3: 1}),
        ("YEAR(a)", {0: 1970, 1: 1970, 3: 1970}),
        ("EPOCH(a)", {0: 0, 1: 60, 3: 180}),
    ],
)
def test_values(text: str, expected: Any) -> None:
    found = worth(text)
    assert found == (expected if isinstance(expected, list) else pytest.approx(expected))


@pytest.mark.parametrize(
    "text",
    [
        "'text'", "a + 'x'", "'x' + a", "[a] + [b]", "[1]", "1 / 0", "SUM()", "SUM(1)", "SUM(a, b)", "AVG('x')", "NOSUCH(a)", "zz", "REPEATED",
        "FILL(a)", "FILL(a, ASC)", "FILL(1, 0)", "IF(a)", "IF([a], 1)", "IF(a, [b], 0)", "METRICS(1)", "SORT(a)", "SORT(a, AVG, UP)",
        "SORT(a, LOG, ASC)", "SORT(a, AVG, REPEAT)", "SORT(a, ASC, ASC)", "SORT(a, 1, ASC)",
        "SORT(a, b, ASC)", "METRICS('a', 'b')", "LOG10(0)", "SLICE(a)", "SLICE(a, b)", "PERIOD([a])", "TIME_SERIES(a)", "RATE(1)", "LOG(0)", "HOUR(1)", "x + 1",
        "SEARCH(a)", "SEARCH('x')", "SEARCH('x', a)", "FIRST(1)", "METRIC_COUNT(1)", "REMOVE_EMPTY(2)",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        worth(text)


def test_what_is_too_large_is_no_number() -> None:
    huge = series(1e308, 1e308)
    for text, expected in (
        ("huge * 10", {}),
        ("RUNNING_SUM(huge)", {0: 1e308}),
        ("RUNNING_SUM([huge])", [{0: 1e308}]),
    ):
        assert worth(text, huge=huge) == expected
    for text in ("SUM(huge)", "SUM([huge, huge])", "10 ^ 308 * 10"):
        with pytest.raises(InvalidParameter):
            worth(text, huge=huge)


def test_how_many_arguments_there_must_be_is_told() -> None:
    with pytest.raises(InvalidParameter, match=r"SUM needs 1 argument\."):
        worth("SUM(a, b)")
    with pytest.raises(InvalidParameter, match=r"FILL needs 2 arguments\."):
        worth("FILL(a)")


def test_a_choice_without_an_alternative_keeps_the_period() -> None:
    slow = {"slow": series(1, period=300)}

    def period(text: str) -> int:
        shown = evaluate(plan({"x": text}, ["slow"]), slow, {}, SPAN, {})["x"]
        assert isinstance(shown, Series)
        return shown.period

    assert (period("IF(0, slow)"), period("IF(0, 1)")) == (300, 60)


def test_metrics_are_those_of_lists_too() -> None:
    assert worth("METRICS('l')", l=[A, B]) == [{0: 1, 1: 2, 3: 4}, {0: 10, 2: 30, 3: 40}]


@pytest.mark.parametrize("name", ABSENT)
def test_functions_that_are_not_here_are_refused_by_name(name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        worth(f"{name}(a)")


def test_expressions_name_each_other_in_any_order() -> None:
    planned = plan({"x": "y * 2", "y": "a + 1", "z": "x + y"}, ["a"])
    values = evaluate(planned, {"a": series(1)}, {}, Span(0, MINUTE), {})
    assert {name: one.points[0] for name, one in values.items() if isinstance(one, Series)} == {"x": 4, "y": 2, "z": 6}
    with pytest.raises(InvalidParameter, match="circle"):
        plan({"x": "y", "y": "z", "z": "x"}, [])
    with pytest.raises(InvalidParameter, match="expressions x, y name each other"):
        plan({"w": "1", "x": "y", "y": "x"}, [])


def test_what_a_search_found_is_a_list() -> None:
    asked = Search("{N,d} m", "Sum", 300)
    planned = plan({"x": "SUM(SEARCH('{N,d} m', 'Sum', 300))"}, [])
    assert list(planned.searches()) == [asked]
    twice = plan({"x": "SEARCH('{N,d} m', 'Sum', 300)", "y": "SUM(SEARCH('{N,d} m', 'Sum', 300))"}, [])
    assert list(twice.searches()) == [asked]
    with pytest.raises(InvalidParameter, match="SEARCH needs"):
        plan({"x": "SEARCH(a)"}, ["a"])
    assert worth("SUM(SEARCH('{N,d} m', 'Sum', 300))", {asked: [A, B]}) == {0: 11, 1: 2, 2: 30, 3: 44}


def test_a_number_is_shown_by_the_longest_period_also_of_lists() -> None:
    measured = {"l": [series(1), series(1, period=120)]}
    shown = evaluate(plan({"x": "5"}, ["l"]), measured, {}, SPAN, {})["x"]
    assert isinstance(shown, Series)
    assert list(shown.points) == [0, 2 * MINUTE]


def test_a_number_is_shown_by_the_period_that_is_given() -> None:
    planned = plan({"x": "5"}, [])
    shown = evaluate(planned, {}, {}, Span(1, 300_001), {"x": 120})["x"]
    assert isinstance(shown, Series)
    assert list(shown.points) == [120_000, 240_000]


POINTS = st.dictionaries(st.integers(0, 3), st.floats(-1e6, 1e6), max_size=4).map(
    lambda found: Series({at * MINUTE: value for at, value in sorted(found.items())}, 60)
)
TEXTS = st.recursive(
    st.sampled_from(["a", "b", "2", "[a, b]", "METRICS()"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "^", ">", "AND"]), inner).map(
            lambda one: f"({one[0]} {one[1]} {one[2]})"
        )
        | st.tuples(st.sampled_from(sorted(FUNCTIONS)), inner).map(lambda one: f"{one[0]}({one[1]})")
        | inner.map(lambda one: f"FILL({one}, REPEAT)")
        | st.tuples(inner, inner, inner).map(lambda one: f"IF({one[0]}, {one[1]}, {one[2]})")
    ),
    max_leaves=8,
)


@given(TEXTS, POINTS, POINTS)
def test_any_expression_gives_numbers_within_the_times_or_is_refused(text: str, first: Series, second: Series) -> None:
    try:
        shown = evaluate(plan({"x": text}, ["a", "b"]), {"a": first, "b": second}, {}, SPAN, {})["x"]
    except InvalidParameter:
        return
    for one in shown if isinstance(shown, list) else [shown]:
        assert all(math.isfinite(value) for value in one.points.values())
        assert list(one.points) == sorted(one.points)
        assert all(SPAN.start <= at < SPAN.end for at in one.points)


@given(POINTS, POINTS)
def test_laws(first: Series, second: Series) -> None:
    given_ = {"a": first, "b": second}
    texts = {"s": "a + b", "t": "b + a", "u": "SUM([a, b])", "v": "RUNNING_SUM(DIFF(a))", "f": "FILL(a, 0)"}
    found = evaluate(plan(texts, ["a", "b"]), given_, {}, SPAN, {})
    points = {name: one.points for name, one in found.items() if isinstance(one, Series)}
    assert points["s"] == points["t"]
    assert set(points["s"]) == set(first.points) & set(second.points)
    assert set(points["u"]) == set(first.points) | set(second.points)
    assert set(points["f"]) == set(SPAN.grid(60))
    for at, value in points["v"].items():
        assert value == pytest.approx(first.points[at] - next(iter(first.points.values())), abs=1e-6)
