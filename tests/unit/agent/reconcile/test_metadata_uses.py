"""What guests asked without a token, from reading to reading."""

import pytest

from stead_agent.metadata.interface import Uses
from stead_agent.reconcile.metadata_uses import Asked, MetadataUses


def test_what_was_counted_before_the_first_reading_is_of_no_period() -> None:
    assert MetadataUses().since_before({"i-1": Uses("a", 9, 9)}) == {}


@pytest.mark.parametrize(
    ("now", "asked"),
    [
        (Uses("a", 5, 3), Asked(0, 0)),
        (Uses("a", 7, 4), Asked(2, 1)),
        (Uses("b", 7, 4), Asked(7, 4)),  # another process began at zero
        (Uses("a", 4, 3), Asked(4, 3)),  # the guest was removed and came again
        (Uses("a", 5, 2), Asked(5, 2)),
    ],
)
def test_what_grew(now: Uses, asked: Asked) -> None:
    uses = MetadataUses()
    uses.since_before({"i-1": Uses("a", 5, 3)})
    assert uses.since_before({"i-1": now}) == {"i-1": asked}
    assert uses.since_before({"i-1": now}) == {"i-1": Asked(0, 0)}


def test_a_new_guest_counts_from_zero() -> None:
    uses = MetadataUses()
    uses.since_before({})
    assert uses.since_before({"i-1": Uses("a", 2, 1)}) == {"i-1": Asked(2, 1)}
    assert Asked(2, 1) + Asked(3, 5) == Asked(5, 6)
