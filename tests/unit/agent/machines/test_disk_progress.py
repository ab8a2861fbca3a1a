"""What the counters of a disk say of its requests."""

from stead_agent.machines.disk_progress import ASK_SECONDS, STALLED_SECONDS, DiskProgress, Queue

WAITS, OTHERS, IDLE = [Queue(2, 7), Queue(0, 0)], [Queue(2, 8), Queue(0, 0)], [Queue(0, 9), Queue(0, 0)]
BEGAN = 1000.0


def quiet(asked_of: list[Queue]) -> DiskProgress:
    """A disk that has done nothing since the last look, of which QEMU has answered this."""
    disk = DiskProgress(5, 0)
    assert disk.look(5, 0, BEGAN)
    disk.note_queues(asked_of, BEGAN)
    return disk


def test_requests_that_wait_for_long_without_one_that_is_done() -> None:
    disk = quiet(WAITS)
    for seconds in (0.0, STALLED_SECONDS - 1):
        assert disk.look(5, 0, BEGAN + seconds), "QEMU is asked with each look while requests wait"
        disk.note_queues(WAITS, BEGAN + seconds)
        assert not disk.is_stalled(BEGAN + seconds)
    assert disk.is_stalled(BEGAN + STALLED_SECONDS)
    disk.note_queues([Queue(3, 7), Queue(1, 0)], BEGAN + STALLED_SECONDS)
    assert disk.is_stalled(BEGAN + STALLED_SECONDS), "that there are more of them is no progress"


def test_each_answer_is_progress() -> None:
    over = BEGAN + 2 * STALLED_SECONDS
    for answer in (OTHERS, IDLE, [Queue(2, 7), Queue(1, 1)]):
        disk = quiet(WAITS)
        disk.note_queues(answer, over)
        assert not disk.is_stalled(over), answer
    disk = quiet(WAITS)
    assert not disk.look(6, 0, over), "of a disk that works QEMU is not asked"
    assert not disk.is_stalled(over)
    assert disk.look(6, 0, over + ASK_SECONDS)
    disk.note_queues(WAITS, over + ASK_SECONDS)
    assert not disk.is_stalled(over + ASK_SECONDS), "they have not waited since before that"


def test_requests_that_wait_again_have_waited_since_then() -> None:
    """Also if the counters are by chance those of the time before: they begin anew now and then."""
    disk, again = quiet(WAITS), BEGAN + STALLED_SECONDS
    assert not disk.look(6, 0, BEGAN + 1)
    disk.note_queues(WAITS, again)
    assert not disk.is_stalled(again + STALLED_SECONDS - 1)
    assert disk.is_stalled(again + STALLED_SECONDS)


def test_of_an_idle_disk_qemu_is_asked_now_and_then() -> None:
    disk = quiet(IDLE)
    assert not disk.look(5, 0, BEGAN + ASK_SECONDS - 1)
    assert disk.look(5, 0, BEGAN + ASK_SECONDS)
    assert not disk.is_stalled(BEGAN + 10 * STALLED_SECONDS)


def test_a_failed_request_counts_until_one_succeeds_and_none_fails() -> None:
    disk = quiet(IDLE)
    disk.look(5, 1, BEGAN)
    assert disk.is_stalled(BEGAN)
    disk.look(5, 1, BEGAN + 1000)
    assert disk.is_stalled(BEGAN + 1000), "nobody has tried since"
    disk.look(6, 2, BEGAN + 2000)
    assert disk.is_stalled(BEGAN + 2000), "some succeed and some fail"
    disk.look(7, 2, BEGAN + 3000)
    assert not disk.is_stalled(BEGAN + 3000)
    assert not DiskProgress(5, 3).is_stalled(BEGAN), "what failed before is another guest's"
