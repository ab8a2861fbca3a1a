"""Wildcards and variables against the naive way, and patterns that were made to be slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.authorization.patterns import Variable, Wild, pattern, pieces_of
from tests.unit.controller.authorization import naive

TEXTS = st.text("ab*?", max_size=8)


@given(st.text("ab*?", max_size=8), TEXTS)
def test_it_matches_what_trying_all_ways_matches(text, value):
    assert pattern(text).matches(value, {}) == naive.alike(text, value)


@given(
    st.lists(st.sampled_from(["a", "*", "?", "${aws:username}", "${k, 'b'}", "${*}", "${$}"]), max_size=5).map("".join),
    TEXTS,
    TEXTS,
)
def test_the_wildcards_of_values_mean_themselves(text, given_value, value):
    context = {"aws:username": (given_value,)}
    expected = naive.filled(
        text.replace("${*}", "\1").replace("${$}", "$"), {"aws:username": [given_value]}, variables=True
    )
    assert pattern(text).matches(value, context) == naive.alike(expected, value)


@pytest.mark.parametrize(
    ("context", "value", "matches"),
    [
        ({}, "home/", False),
        ({"k": ("a",)}, "home/a", True),
        ({"k": ("a", "b")}, "home/a", False),
    ],
)
def test_a_variable_needs_one_value(context, value, matches):
    assert pattern("home/${K}").matches(value, context) == matches


def test_a_default_is_for_what_has_no_value():
    default = pattern("home/${k, 'everybody'}")
    assert default.matches("home/everybody", {})
    assert default.matches("home/a", {"k": ("a",)})
    assert not default.matches("home/everybody", {"k": ("a", "b")})


def test_old_policies_have_no_variables():
    assert pieces_of("${aws:username}*", variables=False) == ("${aws:username}", Wild.MANY)
    assert pieces_of("${ aws:UserName }") == (Variable("aws:username"),)


@pytest.mark.parametrize("part", ["*a", "a*", "*a?", "?a", "*"])
def test_no_pattern_takes_long(part):
    text, value = part * (6144 // len(part)) + "b", "a" * 8192
    spent = []
    for _ in range(3):  # a collection of garbage of all tests before may fall into one
        started = time.thread_time()
        assert not pattern(text).matches(value, {})
        spent.append(time.thread_time() - started)
    assert min(spent) < 0.5  # it takes milliseconds; what backtracks would not end
