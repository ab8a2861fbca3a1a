"""Members of large JSON objects, whatever the size of the pieces in which a text is read."""

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_cli import json_members
from stead_cli.json_members import BadJsonError, JsonMembers
from tests.support.examples import examples

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def read(text: str, chunk: int) -> Any:
    class Pieces(io.StringIO):
        def read(self, size: int | None = -1, /) -> str:
            return super().read(chunk)

    found = JsonMembers(Pieces(text))
    members = {key: found.value() for key in found.members()}
    found.require_end()
    return members


@settings(max_examples=examples(50))
@given(
    value=st.dictionaries(st.text(max_size=3), VALUES, max_size=4),
    chunk=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
)
def test_an_object_is_read_as_json_reads_it(value: dict[str, Any], chunk: int, indent: int | None) -> None:
    assert read(f" {json.dumps(value, indent=indent)}\n ", chunk) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ends too early"),
        ("[]", "{ is expected"),
        ('{"a" 1}', ": is expected at character 6"),
        ('{"a": 1 "b"}', ", is expected at character 9"),
        ("{1: 2}", "a name is expected"),
        ('{"a": }', "no JSON at character 7"),
        ('{"a": 1', "ends too early"),
        ('{"a": 1} 2', "the end is expected at character 10"),
    ],
)
def test_what_is_no_object_is_refused(text: str, words: str) -> None:
    for chunk in (1, 100):
        with pytest.raises(BadJsonError, match=words):
            read(text, chunk)


def test_members_are_skipped_and_none_may_be_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    found = JsonMembers(io.StringIO('{"a": {"b": {}, "c": [1]}, "d": [2], "e": 3}'))
    keys = iter(found.members())
    assert next(keys) == "a"
    found.skip()
    assert next(keys) == "d"
    found.skip()
    assert (next(keys), found.value(), list(keys)) == ("e", 3, [])
    monkeypatch.setattr(json_members, "_MOST", 20)
    with pytest.raises(BadJsonError, match="no value of at most 4 MiB at character 7"):
        read('{"a": "' + "x" * 100 + '"}', 10)


def test_a_value_may_be_as_long_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_members, "_MOST", 20)
    assert read('{"a long name": "' + "x" * 16 + '"}', 1) == {"a long name": "x" * 16}
