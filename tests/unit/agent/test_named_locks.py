"""One at a time for a name; for another name nobody waits; a name without users takes no memory."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stead_agent.named_locks import NamedLocks


def test_one_at_a_time_at_each_name():
    locks = NamedLocks()
    busy = {"a": 0, "b": 0}

    def work(number: int) -> int:
        name = "ab"[number % 2]
        with locks.at(name):
            busy[name] += 1
            most = busy[name]
            gc.collect(0)  # time for others to come in between
            busy[name] -= 1
        return most

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(400))) == {1}


def test_another_name_does_not_wait():
    locks = NamedLocks()
    with locks.at("a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(_is_entered, locks, "b").result(timeout=60)


def test_an_error_releases_the_lock_and_nothing_stays():
    locks = NamedLocks()
    with pytest.raises(ZeroDivisionError), locks.at("a"):
        raise ZeroDivisionError
    assert _is_entered(locks, "a")
    gc.collect()
    assert not locks._by_name


def test_who_waits_is_next():
    """The lock of a name lives on while somebody waits for it, so that nobody passes both."""
    locks, came, inside = NamedLocks(), threading.Event(), []

    def wait() -> None:
        came.set()
        with locks.at("a"):
            inside.append("second")

    with locks.at("a"):
        thread = threading.Thread(target=wait)
        thread.start()
        came.wait(60)
        inside.append("first")
    thread.join(60)
    assert inside == ["first", "second"]


def _is_entered(locks: NamedLocks, name: str) -> bool:
    with locks.at(name):
        return True


def test_who_is_stopped_meanwhile_does_not_get_it():
    locks, stop = NamedLocks(), threading.Event()
    got: list[bool] = []

    def wait():
        with locks.at("a", stop) as is_mine:
            got.append(is_mine)

    with locks.at("a") as is_mine:
        assert is_mine
        waiting = threading.Thread(target=wait)
        waiting.start()
        stop.set()
        waiting.join(10)
        assert got == [False]
    wait()
    assert got == [False, False], "nor who comes when it is free"
    with locks.at("a", threading.Event()) as is_mine:
        assert is_mine
