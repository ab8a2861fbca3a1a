"""One at a time at a thing; at another thing nobody waits; and nothing is kept of what nobody is at."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stead_agent.named_locks import Turns


def test_one_at_a_time_at_each_name():
    turns = Turns()
    busy = {"a": 0, "b": 0}

    def work(number: int) -> int:
        name = "ab"[number % 2]
        with turns.at(name):
            busy[name] += 1
            most = busy[name]
            gc.collect(0)  # time for others to come in between
            busy[name] -= 1
        return most

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(400))) == {1}


def test_another_name_does_not_wait():
    turns = Turns()
    with turns.at("a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(_is_let_in, turns, "b").result(timeout=20)


def test_an_error_ends_the_turn_and_nothing_is_kept():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.at("a"):
        raise ZeroDivisionError
    assert _is_let_in(turns, "a")
    gc.collect()
    assert not turns._by_name


def test_who_waits_is_next():
    """The lock of a name lives on while somebody waits for it, so that nobody passes both."""
    turns, came, inside = Turns(), threading.Event(), []

    def wait() -> None:
        came.set()
        with turns.at("a"):
            inside.append("second")

    with turns.at("a"):
        thread = threading.Thread(target=wait)
        thread.start()
        came.wait(20)
        inside.append("first")
    thread.join(20)
    assert inside == ["first", "second"]


def _is_let_in(turns: Turns, name: str) -> bool:
    with turns.at(name):
        return True
