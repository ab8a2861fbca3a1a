"""Alarms are billed by the metrics that they watch, from when they are made until they are deleted."""

from dataclasses import replace
from datetime import timedelta

import pytest

from stead_controller.resources.metrics import alarm_usage, alarms
from stead_controller.resources.metrics.measures import Query
from tests.support.metered import lines, meters
from tests.support.rows import NOW
from tests.unit.controller.resources.metrics.alarms_of_tenant import Alarms, above_one, average, metric


@pytest.fixture
def mine(life):
    return Alarms(life.run, life.world)


def id_of(mine, name):
    return alarm_usage.id_of(mine.caller.account_id, name)


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def test_an_alarm_is_billed_until_it_is_deleted(life, mine):
    mine.put("own")
    assert meters(life) == [(id_of(mine, "own"), "CW:AlarmMonitorUsage", 1, 0)]
    mine.put("own")
    assert lines(life) == [], "it is what it was"
    life.run(alarms.remove, mine.caller, ["own"], later(90))
    assert (meters(life), lines(life)) == ([], [(id_of(mine, "own"), "CW:AlarmMonitorUsage", 1, 0, 90)])


def test_one_of_several_metrics_is_billed_for_each_and_one_of_short_periods_apart(life, mine):
    queries = tuple(Query(f"m{number}", average(metric(f"load{number}")), returned=False) for number in (1, 2))
    total = Query("sum", expression="m1 + m2")
    both = replace(above_one(), measure=None, queries=(*queries, total))
    mine.put("own", definition=both)
    assert meters(life) == [(id_of(mine, "own"), "CW:AlarmMonitorUsage", 2, 0)]
    close = replace(above_one(), measure=replace(average(metric()), period=10))
    mine.put("own", definition=close)
    assert meters(life) == [(id_of(mine, "own"), "CW:HighResAlarmMonitorUsage", 1, 0)]


def test_one_on_other_alarms_is_billed_as_such(life, mine):
    mine.put("own")
    mine.compose("both", "ALARM(own)")
    found = {resource: usage for resource, usage, _, _ in meters(life)}
    assert found[id_of(mine, "both")] == "CW:CompositeAlarmMonitorUsage"
    life.run(alarms.remove, mine.caller, ["own", "both"], later(5))
    assert meters(life) == []


def test_ids_are_short_and_apart(mine):
    names = ["a", "b", "x" * 255]
    assert len({id_of(mine, name) for name in names}) == 3
    assert {len(id_of(mine, name)) for name in names} == {40}
    assert alarm_usage.id_of("1", "a") != alarm_usage.id_of("2", "a")
