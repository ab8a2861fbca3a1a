"""A filter's three forms, for rows in memory, LIKE and GLOB, agree; SQLite itself is asked."""

import sqlite3
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.request.filters import LIKE_ESCAPE, Filter, glob, is_pattern, is_tag_filter, like, literal

ALPHABET = st.text(st.sampled_from("ab*?\\%_[]^-é.\n"), max_size=8)


@pytest.mark.parametrize(
    ("value", "text", "matches"),
    [
        ("abc", "abc", True),
        ("abc", "ABC", False),
        ("abc", "abcd", False),
        ("a*c", "ac", True),
        ("a*c", "abbc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a?c", "abbc", False),
        ("*", "", True),
        ("", "", True),
        (r"a\*c", "a*c", True),
        (r"a\*c", "abc", False),
        (r"\*amazon\?\\", "*amazon?\\", True),
        ("a.c", "abc", False),
        ("a*c", "a\n\nc", True),
        ("100%", "100%", True),
        ("100%", "1000", False),
        ("a_c", "abc", False),
        ("trailing\\", "trailing\\", True),
    ],
)
def test_matches(value: str, text: str, *, matches: bool) -> None:
    assert Filter("name", (value,)).matches(text) is matches


def in_sqlite(condition: str, *values: str) -> bool:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("PRAGMA case_sensitive_like=ON")
        return bool(connection.execute(f"SELECT {condition}", values).fetchone()[0])
    finally:
        connection.close()


@given(ALPHABET, ALPHABET)
def test_like_and_glob_say_what_matches_says(value: str, text: str) -> None:
    expected = Filter("name", (value,)).matches(text)
    assert in_sqlite(f"? LIKE ? ESCAPE '{LIKE_ESCAPE}'", text, like(value)) is expected
    assert in_sqlite("? GLOB ?", text, glob(value)) is expected
    if not is_pattern(value):
        assert (text == literal(value)) is expected


def test_many_wildcards_cost_little() -> None:
    spent = []
    for _ in range(2):  # a collection of garbage of all tests before may fall into one
        begun = time.thread_time()
        assert not Filter("name", ("*a" * 120 + "*b",)).matches("a" * 256)
        assert not Filter("name", ("?*" * 120 + "b",)).matches("a" * 256)
        spent.append(time.thread_time() - begun)
    assert min(spent) < 10  # it takes milliseconds; what backtracks would not end


@given(st.text(max_size=8))
def test_escaped_text_matches_only_itself(text: str) -> None:
    value = "".join("\\" + character if character in "*?\\" else character for character in text)
    assert not is_pattern(value)
    assert literal(value) == text
    assert Filter("name", (value,)).matches(text)
    assert not Filter("name", (value,)).matches(text + "x")


def test_values_are_alternatives() -> None:
    found = Filter("state", ("running", "stop*", r"odd\*"))
    assert found.is_pattern
    assert found.exact == ("running", "odd*")
    assert found.likes == ("stop%",)
    assert found.globs == ("stop*",)
    assert found.matches("stopped")
    assert found.matches("odd*")
    assert not found.matches("pending")
    assert not found.matches(None)
    assert found.matches_any(["pending", "running"])
    assert not found.matches_any([])
    assert not Filter("state", ()).matches("")


def test_tag_filters() -> None:
    tags = {"Name": "web", "Team": ""}
    assert Filter("tag:Name", ("we*",)).matches_tags(tags)
    assert Filter("tag:Team", ("",)).matches_tags(tags)
    assert not Filter("tag:name", ("web",)).matches_tags(tags)
    assert not Filter("tag:Absent", ("*",)).matches_tags(tags)
    assert Filter("tag-key", ("Te*",)).matches_tags(tags)
    assert Filter("tag-value", ("web",)).matches_tags(tags)
    assert not Filter("tag-value", ("db",)).matches_tags(tags)
    assert Filter("tag:a:b", ("x",)).tag_key == "a:b"
    assert Filter("vpc-id", ("x",)).tag_key is None
    assert is_tag_filter("tag:x")
    assert is_tag_filter("tag-key")
    assert not is_tag_filter("tag:")
    assert not is_tag_filter("vpc-id")
