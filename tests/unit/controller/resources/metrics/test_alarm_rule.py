"""Rules of composite alarms: what they mean by their words, and what is no rule."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.alarm_rule import _MAX_DEPTH, MAX_CHILDREN, MAX_ELEMENTS, children, holds, parse

STATES = {"a": "ALARM", "b": "OK", "c": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TRUE", True),
        ("FALSE", False),
        ("ALARM(a)", True),
        ("ALARM(b)", False),
        ("OK(b)", True),
        ("INSUFFICIENT_DATA(c)", True),
        ("OK(absent)", False),
        ('ALARM("a")', True),
        ("  ALARM ( a )  ", True),
        ("NOT ALARM(a)", False),
        ("NOT NOT ALARM(a)", True),
        ("ALARM(a) AND OK(b)", True),
        ("ALARM(a) AND OK(c)", False),
        ("OK(a) OR OK(b)", True),
        ("TRUE OR TRUE AND FALSE", True),
        ("(TRUE OR TRUE) AND FALSE", False),
        ("NOT FALSE AND FALSE", False),
        ("NOT (FALSE AND FALSE)", True),
        ("FALSE AND FALSE OR TRUE", True),
    ],
)
def test_what_a_rule_says(text: str, expected: bool) -> None:
    assert holds(parse(text), STATES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "ALARM", "ALARM()", "ALARM(a", "a", "AND", "NOT", "TRUE TRUE", "TRUE AND", "(TRUE", "TRUE)", "()",
        "ALARM(a) ALARM(b)", "alarm(a)", "TRUEx", "OTHER(a)", "NOT " * 80 + "TRUE", "(" * 80 + "TRUE" + ")" * 80,
    ],
)  # fmt: skip
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse(text)


def test_what_was_not_expected_is_told() -> None:
    with pytest.raises(InvalidParameter, match=r"unexpected ALARM\(b\)\."):
        parse("ALARM(a) ALARM(b)")


def test_how_deep_it_may_be() -> None:
    assert holds(parse("NOT " * _MAX_DEPTH + "TRUE"), {}) is (_MAX_DEPTH % 2 == 0)
    with pytest.raises(InvalidParameter, match="too deeply"):
        parse("NOT " * (_MAX_DEPTH + 1) + "TRUE")


def test_names_may_have_any_characters_in_quotes() -> None:
    name = 'a b) "c" \\ OR'
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    rule = parse(f'OK("{quoted}") OR ALARM(arn:aws:cloudwatch:eu-1:1:alarm:x y)')
    assert children(rule) == [name, "arn:aws:cloudwatch:eu-1:1:alarm:x y"]
    assert holds(rule, {name: "OK"})


def test_children_come_once() -> None:
    assert children(parse("OK(a) OR NOT (ALARM(b) AND OK(a))")) == ["a", "b"]


def test_limits() -> None:
    parse(" OR ".join(f"OK(a{number})" for number in range(MAX_CHILDREN)))
    with pytest.raises(InvalidParameter):
        parse(" OR ".join(f"OK(a{number})" for number in range(MAX_CHILDREN + 1)))
    parse(" OR ".join(["OK(a)"] * MAX_ELEMENTS))
    with pytest.raises(InvalidParameter):
        parse(" OR ".join(["OK(a)"] * (MAX_ELEMENTS + 1)))


_TEXTS = st.recursive(
    st.sampled_from(["TRUE", "FALSE"]),
    lambda inner: (
        inner.map(lambda one: f"(NOT {one})")
        | st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda one: f"({one[0]} {one[1]} {one[2]})")
    ),
    max_leaves=12,
)


@given(_TEXTS)
def test_rules_of_constants_are_pythons(text: str) -> None:
    words = text.replace("TRUE", "True").replace("FALSE", "False")
    for word in ("AND", "OR", "NOT"):
        words = words.replace(word, word.lower())
    assert holds(parse(text), {}) is eval(words)


@pytest.mark.parametrize(("left", "middle", "right"), list(itertools.product([True, False], repeat=3)))
def test_and_binds_before_or(left: bool, middle: bool, right: bool) -> None:
    text = f"{str(left).upper()} OR {str(middle).upper()} AND {str(right).upper()}"
    assert holds(parse(text), {}) is (left or (middle and right))
