"""What the controller is sent, and which revision the host says it has reached."""

from stead_agent.reconcile.reports import Reports, status
from stead_agent.wanted import Key
from stead_proto import limits
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2

ONE, TWO = Key(pb.KIND_VOLUME, "vol-1"), Key(pb.KIND_VOLUME, "vol-2")
READY, PENDING, FAILED = host_pb2.CONDITION_READY, host_pb2.CONDITION_PENDING, host_pb2.CONDITION_FAILED


def _reports() -> tuple[Reports, list[None]]:
    calls: list[None] = []
    return Reports(lambda: calls.append(None)), calls


def test_the_same_word_is_no_news() -> None:
    reports, calls = _reports()
    reports.put(status(ONE, 1, READY))
    assert [each.id for each in reports.take()] == ["vol-1"]
    calls.clear()
    reports.put(status(ONE, 1, READY))
    assert not reports.has_news()
    assert calls == []


def test_only_the_last_word_is_sent() -> None:
    reports, _ = _reports()
    reports.put(status(ONE, 1, PENDING))
    reports.put(status(ONE, 1, FAILED, "no room"))
    assert [(each.condition, each.error) for each in reports.take()] == [(FAILED, "no room")]


def test_the_revision_waits_for_all_that_is_open() -> None:
    reports, _ = _reports()
    reports.expect(ONE, 3)
    reports.expect(TWO, 4)
    assert reports.reached(4) == 2
    reports.put(status(TWO, 4, READY))
    reports.put(status(ONE, 3, PENDING))
    reports.take()
    assert reports.reached(4) == 2
    reports.put(status(ONE, 2, READY))  # an older one settles nothing
    assert reports.reached(4) == 1
    reports.take()
    assert reports.reached(4) == 2
    reports.put(status(ONE, 3, FAILED))
    reports.take()
    assert reports.reached(4) == 4


def test_what_nobody_waits_for_is_said_with_the_next_report() -> None:
    reports, calls = _reports()
    mapping = Key(pb.KIND_MAPPING, "eni-1")
    reports.expect(mapping, 3, patient=True)
    assert reports.reached(3) == 2
    reports.put(status(mapping, 3, READY))
    assert (calls, reports.has_news(), reports.reached(3)) == ([], False, 3)
    reports.expect(mapping, 4, patient=True)
    reports.forget(mapping)  # it is gone
    assert (calls, reports.has_news(), reports.reached(4)) == ([], False, 4)
    reports.expect(mapping, 5, patient=True)
    reports.put(status(mapping, 5, FAILED, "no room"))
    assert [each.error for each in reports.take()] == ["no room"]
    assert calls


def test_once_somebody_waits_for_a_resource_its_end_is_news() -> None:
    for orders in ((True, False), (False, True)):
        reports, calls = _reports()
        mapping = Key(pb.KIND_MAPPING, "eni-1")
        for revision, patient in enumerate(orders, 3):
            reports.expect(mapping, revision, patient=patient)
        reports.put(status(mapping, 4, READY))
        assert calls
        assert reports.has_news()
        assert reports.take() == []
        assert reports.reached(4) == 4


def test_the_revision_waits_for_what_was_not_sent_yet() -> None:
    reports, _ = _reports()
    for number in range(3):
        key = Key(pb.KIND_VOLUME, f"vol-{number}")
        reports.expect(key, 5 + number)
        reports.put(status(key, 5 + number, READY))
    assert len(reports.take(2)) == 2
    assert reports.reached(7) == 6
    assert len(reports.take(2)) == 1
    assert reports.reached(7) == 7


def test_long_errors_are_cut() -> None:
    assert len(status(ONE, 1, FAILED, "x" * 10**6).error) == limits.ERROR_CHARACTERS


def test_what_is_forgotten_is_not_repeated() -> None:
    reports, _ = _reports()
    reports.expect(ONE, 1)
    reports.put(status(ONE, 1, READY))
    reports.put(status(TWO, 1, READY))
    reports.take()
    reports.forget(ONE)
    reports.resend_all()
    assert [each.id for each in reports.take()] == ["vol-2"]
    assert reports.reached(9) == 9


def test_a_place_that_is_ready_is_told_of_only_where_it_had_failed() -> None:
    reports, calls = _reports()
    place = Key(pb.KIND_MAPPING, "eni-1")
    reports.expect(place, 3)
    reports.put_ready(place, 2)  # an older one settles nothing
    assert (calls, reports.reached(3)) == ([], 2)
    reports.put(status(place, 3, PENDING))
    reports.put_ready(place, 3)
    assert calls
    assert reports.take() == []
    assert (reports.latest(place), reports.reached(3)) == (None, 3)
    calls.clear()
    reports.put_ready(place, 3)
    assert calls == []
    reports.put(status(place, 3, FAILED, "no room"))
    reports.take()
    reports.put_ready(place, 3)
    assert [each.condition for each in reports.take()] == [READY]
