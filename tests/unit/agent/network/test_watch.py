"""When what somebody changed is reported."""

import pytest

from stead_agent.network.interface import Touched
from stead_agent.network.watch import PAUSE_SECONDS, SETTLE_SECONDS, Marks

NOW = 1000.0
TAPS = {"stt1": "vpc-9"}


def touched(*links: str, rules: tuple[str, ...] = (), taps: tuple[str, ...] = ()) -> Touched:
    return Touched(frozenset(links), frozenset(rules), frozenset(taps))


def test_a_change_is_reported_when_it_has_settled() -> None:
    marks = Marks(links={"vpc-1": NOW}, rules={"vpc-2": NOW + 1}, taps={"stt1": NOW, "stt2": NOW})
    assert marks.next_time() == NOW + SETTLE_SECONDS
    assert marks.take(NOW + SETTLE_SECONDS / 2, TAPS.get) == touched()
    assert marks.take(NOW + SETTLE_SECONDS, TAPS.get) == touched(
        "vpc-1", "vpc-9", taps=("stt1",)
    )  # nobody knows the tap stt2
    assert marks.next_time() == NOW + 1 + SETTLE_SECONDS
    assert marks.take(NOW + 2, TAPS.get) == touched(rules=("vpc-2",))
    assert marks.next_time() is None


def test_the_same_is_reported_after_a_pause() -> None:
    marks = Marks(links={"vpc-1": NOW})
    marks.take(NOW + 1, TAPS.get)
    marks.links |= {"vpc-1": NOW + 1, "vpc-2": NOW + 1}
    assert marks.take(NOW + 1 + SETTLE_SECONDS, TAPS.get) == touched("vpc-2")
    assert marks.next_time() == pytest.approx(NOW + 1 + PAUSE_SECONDS)
    assert marks.take(NOW + 1 + PAUSE_SECONDS, TAPS.get) == touched("vpc-1")


def test_the_host_comes_along() -> None:
    """A VPC's routes at the host need the host's address: without it they cannot be made again."""
    marks = Marks(links={"vpc-1": NOW, "": NOW}, reported={"": NOW})
    assert marks.take(NOW + 1, TAPS.get) == touched("vpc-1", "")
    marks = Marks(rules={"vpc-1": NOW}, links={"": NOW}, reported={"": NOW})
    assert marks.take(NOW + 1, TAPS.get) == touched(rules=("vpc-1",))
