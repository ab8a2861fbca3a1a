"""A copy with another value of one field is what `dataclasses.replace` makes."""

from dataclasses import dataclass, replace

from stead_agent.replacing import replacer


@dataclass(frozen=True, slots=True)
class _Three:
    first: int
    second: str = "b"
    third: tuple[int, ...] = ()


def test_it_is_as_replaced() -> None:
    before = _Three(1, "b", (1, 2))
    assert replacer(_Three, "second")(before, "c") == replace(before, second="c")
    assert replacer(_Three, "third")(before, ()) == replace(before, third=())
    assert before == _Three(1, "b", (1, 2))
