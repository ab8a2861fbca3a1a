"""Wildcards and variables against the naive way, and patterns that were made to be slow."""

import re
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


@pytest.mark.parametrize(
    ("text", "value"), [("a*a", "a"), ("ab*ba", "aba"), ("a?*?a", "aaa"), ("*ab*", "ba"), ("*a*a*", "a")]
)
def test_no_character_stands_for_two_of_a_pattern(text, value):
    assert not pattern(text).matches(value, {})


def test_a_part_may_be_where_the_text_begins():
    assert pattern("*a*").matches("ab", {})


def test_an_escaped_wildcard_means_itself():
    assert [pattern("a${*}${?}").matches(value, {}) for value in ("a*?", "ab?", "a*b")] == [True, False, False]


def test_wildcards_are_text_where_there_are_none():
    assert pieces_of("a*?", wildcards=False) == ("a*?",)
    assert pieces_of("", wildcards=False) == ()


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
        ({}, "home/a", False),
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


@pytest.mark.parametrize("text", ["${k, all}", "${k, 'all}", "${k, a'l'}", "${k, 'a'l'}", "${k,}", "${}", "${'k'}"])
def test_what_is_no_variable_is_text(text):
    """A default stands between two quotation marks, and has none in it; a key has none."""
    assert pieces_of(text) == (text,)


def test_a_tag_is_found_by_its_exact_key_first():
    tagged = pattern("${aws:RequestTag/Team}")
    assert tagged.matches("a", {"aws:requesttag/Team": ("a",), "aws:requesttag/TEAM": ("b",)})
    assert tagged.matches("a", {"aws:requesttag/team": ("a",)})
    assert not tagged.matches("b", {"aws:requesttag/Team": ("a",), "aws:requesttag/team": ("b",)})


def test_a_pattern_knows_the_keys_of_its_variables():
    assert list(pattern("a${aws:UserName}*${k, 'b'}?").variables) == ["aws:username", "k"]


def test_old_policies_have_no_variables():
    assert pieces_of("${aws:username}*", variables=False) == ("${aws:username}", Wild.MANY)
    assert pieces_of("${ aws:UserName }") == (Variable("aws:username"),)


NAIVELY = re.compile(r"\$\{\s*(?P<key>[^},']+?)\s*(?:,\s*'(?P<default>[^'}]*)'\s*)?\}")  # which backtracks


@given(st.text("${},' ak", max_size=12) | st.lists(st.sampled_from(["${", "}", "k", ", 'a'", " ", "'"])).map("".join))
def test_variables_are_read_as_their_grammar_has_them(text):
    found, position = [], 0
    for variable in NAIVELY.finditer(text):
        found += [text[position : variable.start()], Variable(variable["key"].lower(), variable["default"])]
        position = variable.end()
    found = [piece for piece in [*found, text[position:]] if piece != ""]
    escaped = [piece.key if isinstance(piece, Variable) and piece.key == "$" else piece for piece in found]
    assert list(pieces_of(text, wildcards=False)) == escaped


@pytest.mark.parametrize("text", ["${" + " " * 100_000, "${" * 65_000, "${a" * 40_000 + "'}", "${ ," * 30_000 + "'a}"])
def test_no_variable_takes_long(text):
    """White space does not count to the size of a policy: there may be much of it, where others let one wait for hours."""
    started = time.thread_time()
    assert pieces_of(text)
    assert (
        time.thread_time() - started < 20
    )  # it takes milliseconds, and hours where each place is looked at from each other


@pytest.mark.parametrize("part", ["*a", "a*", "*a?", "?a", "*"])
def test_no_pattern_takes_long(part):
    text, value = part * (6144 // len(part)) + "b", "a" * 8192
    spent = []
    for _ in range(3):  # a collection of garbage of all tests before may fall into one
        started = time.thread_time()
        assert not pattern(text).matches(value, {})
        spent.append(time.thread_time() - started)
    assert min(spent) < 5  # it takes milliseconds; what backtracks would not end
