"""While the database's server is away the log has a line of each loop in a minute, and all else as before."""

import logging
import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from stead_controller.db import outages
from stead_controller.db.outages import OutageRecords

AWAY = OperationalError("SELECT 1", {}, psycopg.OperationalError("no such server\nis it there?"))
LATE = OperationalError("SELECT 1", {}, psycopg.errors.SerializationFailure("try again"))
LOCKED = OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def passing(clock):
    return OutageRecords(clock)


def record(message, fault=None, **fields):
    of_fault = None if fault is None else (type(fault), fault, None)
    made = logging.LogRecord("stead_controller.x", logging.ERROR, "", 0, message, (), of_fault)
    vars(made).update(fields)
    return made


def test_a_loop_that_fails_says_so_once_a_minute_in_one_line(passing, clock):
    first = record("feed_failed", AWAY)
    assert passing.filter(first)
    assert (vars(first)["fault"], first.exc_info) == ("OperationalError: no such server", None)
    assert "left_out" not in vars(first)
    clock.now += outages.SECONDS - 1
    assert not any(passing.filter(record("feed_failed", AWAY)) for _ in range(3))
    clock.now += 1
    again = record("feed_failed", AWAY)
    assert passing.filter(again)
    assert vars(again)["left_out"] == 3


def test_each_loop_is_named(passing):
    assert passing.filter(record("background_work_failed", AWAY, work="write"))
    assert passing.filter(record("background_work_failed", AWAY, work="clean_up"))
    assert passing.filter(record("feed_failed", AWAY))
    assert not passing.filter(record("background_work_failed", AWAY, work="write"))


@pytest.mark.parametrize("fault", [LATE, LOCKED, ValueError("x"), None])
def test_all_else_passes_as_it_is(passing, fault):
    for _ in range(2):
        made = record("feed_failed", fault)
        assert passing.filter(made)
        assert (made.exc_info is None, "fault" in vars(made)) == (fault is None, False)
