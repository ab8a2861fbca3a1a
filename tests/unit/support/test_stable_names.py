"""A set in a test's name is noticed, where its order would show."""

import pytest

from tests.support.stable_names import unstable_part

TWO = frozenset({"one", "other"})


@pytest.mark.parametrize(
    ("name", "parameters", "found"),
    [
        (f"test_it[{TWO}-1]", {"a": 1, "b": TWO}, str(TWO)),
        ("test_it[b0-1]", {"b": TWO}, ""),
        ("test_it[{'one'}]", {"b": {"one"}}, ""),
        ("test_it[('one', 'other')]", {"b": ("one", "other")}, ""),
    ],
    ids=["a set", "not named", "one value", "a tuple"],
)
def test_a_set_in_a_name_is_found(name: str, parameters: dict[str, object], found: str) -> None:
    assert unstable_part(name, parameters) == found
