"""Sums of traffic are told until they are stored, and again after a restart."""

from stead_agent.reconcile.traffic_telling import TrafficTelling
from stead_agent.traffic.interface import Sum, Sums, Way
from stead_proto.v1 import host_pb2 as pb

ONE = Sum("i-1", Way.TO_INTERNET, "", 5)
TWO = Sum("i-2", Way.TO_HOST, "10.0.0.1", 6)


def told(telling: TrafficTelling, *sums: Sum, epoch: str = "e") -> list[tuple[str, int]]:
    return [(one.id, one.bytes) for one in telling.tell(Sums(epoch, sums))]


def test_sums_are_told_until_they_are_stored() -> None:
    telling = TrafficTelling()
    assert told(telling, ONE) == [("i-1", 5)]
    assert telling.stored(all_is=False).sums == ()
    assert told(telling, ONE, TWO) == [("i-1", 5), ("i-2", 6)]
    assert telling.stored(all_is=True).sums == (ONE, TWO)
    assert told(telling, ONE._replace(total=7), TWO) == [("i-1", 7)]
    assert telling.stored(all_is=False).sums == (ONE, TWO)


def test_another_book_is_told_whole() -> None:
    telling = TrafficTelling()
    assert told(telling, ONE) == [("i-1", 5)]
    telling.stored(all_is=True)
    assert told(telling, ONE) == []
    assert told(telling, ONE, epoch="f") == [("i-1", 5)]


def test_a_sum_says_by_which_way_and_where() -> None:
    ways = [Way.TO_INTERNET, Way.FROM_INTERNET, Way.TO_HOST, Way.TO_PEER_HOST]
    found = [*TrafficTelling().tell(Sums("e", tuple(TWO._replace(way=way) for way in ways)))]
    assert [one.way for one in found] == [
        pb.WAY_TO_INTERNET, pb.WAY_FROM_INTERNET, pb.WAY_TO_HOST, pb.WAY_TO_PEER_HOST,
    ]  # fmt: skip
    assert found[0] == pb.Passed(id="i-2", way=pb.WAY_TO_INTERNET, host_address="10.0.0.1", bytes=6)
