"""What was awaited in vain says why."""

import pytest

from tests.support.waiting import wait_for


def test_the_first_value_that_is_one_is_given() -> None:
    values = iter([None, False, "", "found"])
    assert wait_for(lambda: next(values), "something is found", 5, poll=0) == "found"


def test_in_vain_it_says_what_and_why_and_asks_only_then() -> None:
    asked: list[int] = []

    def explain() -> str:
        asked.append(1)
        return "the console ends with: panic"

    assert wait_for(lambda: "found", "something is found", explain=explain) == "found"
    assert asked == []
    with pytest.raises(AssertionError, match=r"(?s)waited 0 s in vain until pigs fly\n.*panic"):
        wait_for(lambda: None, "pigs fly", 0, explain=explain)
    assert asked == [1]
