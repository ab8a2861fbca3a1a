"""Scheduled actions of groups, done when they are due; and the metrics of groups that are collected."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.db.tables import ScheduledAction
from stead_controller.resources.scaling.group_metrics import METRICS
from tests.support.scaling import NAME, Groups


@pytest.fixture
def groups(api):
    found = Groups(api)
    found.create(MaxSize=4, DesiredCapacity=1)
    return found


def put(groups, name="s", **more):
    return groups.call(groups.client.put_scheduled_update_group_action, ScheduledActionName=name, **more)


def shown(groups, **asked):
    return groups.client.describe_scheduled_actions(**asked)["ScheduledUpdateGroupActions"]


def sizes(groups):
    found = groups.shown()
    return found["MinSize"], found["DesiredCapacity"], found["MaxSize"]


def later(groups, **time):
    groups.now += timedelta(**time)
    asyncio.run(groups.loop.run_scheduled())


def soon(groups, **time):
    return (groups.now + timedelta(**time)).replace(microsecond=0)


def test_a_round_sees_that_one_is_due(groups):
    asyncio.run(groups.loop._round(False))
    put(groups, StartTime=soon(groups, minutes=5), MinSize=2, MaxSize=3)
    groups.now += timedelta(minutes=5)
    asyncio.run(groups.loop._round(False))
    assert sizes(groups) == (2, 2, 3)


def test_an_action_happens_once_and_is_gone(api, groups):
    at = soon(groups, minutes=5)
    put(groups, StartTime=at, MinSize=2, MaxSize=3)
    [one] = shown(groups)
    assert one["ScheduledActionARN"].endswith(f":autoScalingGroupName/{NAME}:scheduledActionName/s")
    assert {name: value for name, value in one.items() if name != "ScheduledActionARN"} == {
        "AutoScalingGroupName": NAME, "ScheduledActionName": "s", "Time": at, "StartTime": at, "MinSize": 2, "MaxSize": 3,
    }  # fmt: skip
    later(groups, minutes=4)
    assert sizes(groups) == (0, 1, 4)
    later(groups, minutes=1)
    assert sizes(groups) == (2, 2, 3)
    assert shown(groups) == []
    groups.run()
    assert any(
        "a scheduled action update of AutoScalingGroup constraints to min: 2, max: 3, desired: 2 changing the desired "
        "capacity from 1 to 2." in one["Cause"]
        for one in groups.activities()
    )


def test_a_recurring_action_happens_in_its_time_zone_until_its_end(groups):
    end = soon(groups, days=2, hours=1)
    put(groups, Recurrence="0 9 * * *", TimeZone="Asia/Tokyo", DesiredCapacity=2, EndTime=end)
    [one] = shown(groups)
    assert (one["StartTime"].hour, one["TimeZone"], one["Recurrence"]) == (0, "Asia/Tokyo", "0 9 * * *")
    later(groups, seconds=(one["StartTime"] - groups.now).total_seconds() + 1)
    assert sizes(groups)[1] == 2
    [again] = shown(groups)
    assert again["StartTime"] == one["StartTime"] + timedelta(days=1)
    later(groups, days=3)
    assert shown(groups) == []


def test_what_was_missed_is_done_once_and_start_is_the_first_time(api, groups):
    at = soon(groups, minutes=1)
    put(groups, StartTime=at, Recurrence="* * * * *", DesiredCapacity=3)
    assert shown(groups)[0]["StartTime"] == at
    later(groups, hours=5)
    assert sizes(groups)[1] == 3
    [one] = shown(groups)
    assert groups.now < one["StartTime"] <= groups.now + timedelta(minutes=1)


def test_a_group_may_not_listen_and_an_action_that_cannot_be_done_fails(groups):
    groups.call(groups.client.suspend_processes, ScalingProcesses=["ScheduledActions"])
    put(groups, StartTime=soon(groups, minutes=1), DesiredCapacity=3)
    later(groups, minutes=2)
    assert sizes(groups)[1] == 1
    assert shown(groups) == []
    groups.call(groups.client.resume_processes, ScalingProcesses=["ScheduledActions"])
    put(groups, StartTime=soon(groups, minutes=1), MinSize=9)
    later(groups, minutes=2)
    assert sizes(groups) == (0, 1, 4)
    [failed] = [one for one in groups.activities() if one["StatusCode"] == "Failed"]
    assert failed["Description"] == "Executing scheduled action s"
    assert "min: 9, max: 4" in failed["StatusMessage"]


def test_an_action_is_changed_by_its_name_and_no_two_are_at_one_time(api, groups):
    at = soon(groups, hours=1)
    put(groups, Time=at, DesiredCapacity=3)
    put(groups, StartTime=at, DesiredCapacity=2)
    [one] = shown(groups)
    assert one["DesiredCapacity"] == 2
    call = groups.client.put_scheduled_update_group_action
    given = {"AutoScalingGroupName": NAME, "ScheduledActionName": "t", "DesiredCapacity": 2}
    assert "same time" in api.refused("AlreadyExists", call, StartTime=at, **given)
    for words, more in (
        ("At least one of", {"StartTime": at, "DesiredCapacity": None}),
        ("negative", {"StartTime": at, "MinSize": -1}),
        ("at most the next", {"StartTime": at, "MinSize": 3}),
        ("at most the next", {"StartTime": at, "MaxSize": 1}),
        ("StartTime or Recurrence", {}),
        ("in the past", {"StartTime": soon(groups, hours=-1)}),
        ("after StartTime", {"StartTime": at, "EndTime": at}),
        ("five|5 fields", {"Recurrence": "@daily"}),
        ("time zone", {"Recurrence": "0 0 * * *", "TimeZone": "Mars"}),
        ("TimeZone is", {"StartTime": at, "TimeZone": "Etc/UTC"}),
        ("the same", {"StartTime": at, "Time": soon(groups, hours=2)}),
        ("never happen", {"Recurrence": "0 0 29 2 *", "EndTime": soon(groups, days=1)}),
    ):
        asked = {name: value for name, value in (given | more).items() if value is not None}
        message = api.refused("ValidationError", call, **asked)
        assert any(word in message for word in words.split("|")), message
    assert len(shown(groups)) == 1


def test_many_are_put_and_deleted_at_once_those_that_can_be(api, groups):
    at = soon(groups, hours=1)
    actions = [{"ScheduledActionName": f"s{n}", "StartTime": at + timedelta(minutes=n), "MinSize": n} for n in range(3)]
    actions += [{"ScheduledActionName": "bad", "StartTime": at + timedelta(hours=1)}]
    put_all = groups.client.batch_put_scheduled_update_group_action
    [failed] = groups.call(put_all, ScheduledUpdateGroupActions=actions)["FailedScheduledUpdateGroupActions"]
    assert (failed["ScheduledActionName"], failed["ErrorCode"]) == ("bad", "ValidationError")
    assert [one["ScheduledActionName"] for one in shown(groups)] == ["s0", "s1", "s2"]
    assert [one["ScheduledActionName"] for one in shown(groups, ScheduledActionNames=["s1"])] == ["s1"]
    groups.create(AutoScalingGroupName="other")
    assert shown(groups, AutoScalingGroupName="other") == []
    assert len(shown(groups, AutoScalingGroupName=NAME)) == 3
    assert "not found" in api.refused(
        "ValidationError", groups.client.describe_scheduled_actions, AutoScalingGroupName="absent"
    )
    times = {"StartTime": at + timedelta(minutes=1), "EndTime": at + timedelta(minutes=1)}
    assert [one["ScheduledActionName"] for one in shown(groups, **times)] == ["s1"]
    pages = groups.client.get_paginator("describe_scheduled_actions").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["ScheduledUpdateGroupActions"]) for page in pages] == [2, 1]
    delete_all = groups.client.batch_delete_scheduled_action
    [failed] = groups.call(delete_all, ScheduledActionNames=["s0", "absent", "s1"])["FailedScheduledActions"]
    assert (failed["ScheduledActionName"], failed["ErrorCode"]) == ("absent", "ValidationError")
    groups.call(groups.client.delete_scheduled_action, ScheduledActionName="s2")
    assert shown(groups) == []
    many = [{"ScheduledActionName": f"s{n}", "StartTime": at + timedelta(minutes=n), "MinSize": 1} for n in range(51)]
    assert "At most 50" in api.refused(
        "ValidationError", put_all, AutoScalingGroupName=NAME, ScheduledUpdateGroupActions=many
    )
    assert "At most 50" in api.refused(
        "ValidationError", delete_all, AutoScalingGroupName=NAME, ScheduledActionNames=[str(n) for n in range(51)]
    )


def test_an_action_at_its_very_end_happens_and_nobody_else_sees_it(api, groups):
    at = soon(groups, hours=1).replace(second=0)
    put(groups, Recurrence=f"{at.minute} {at.hour} * * *", EndTime=at, MinSize=1)
    assert shown(groups)[0]["StartTime"] == at
    theirs = api.client(api.world.other, "autoscaling")
    assert theirs.describe_scheduled_actions()["ScheduledUpdateGroupActions"] == []
    api.refused("ValidationError", theirs.describe_scheduled_actions, AutoScalingGroupName=NAME)
    given = {"AutoScalingGroupName": NAME, "ScheduledActionName": "s"}
    api.refused("ValidationError", theirs.delete_scheduled_action, **given)
    later(groups, seconds=(at - groups.now).total_seconds())
    assert sizes(groups)[0] == 1
    assert shown(groups) == []


def test_actions_and_policies_are_listed_by_group_then_by_name(api, groups):
    groups.create(AutoScalingGroupName="a")
    at = soon(groups, hours=1)
    expected = [("a", "s"), ("a", "t"), (NAME, "r"), (NAME, "s")]
    for number, (group, name) in enumerate(reversed(expected)):
        given = {"AutoScalingGroupName": group, "StartTime": at + timedelta(minutes=number), "MinSize": 1}
        groups.client.put_scheduled_update_group_action(ScheduledActionName=name, **given)
        policy = {"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1}
        groups.client.put_scaling_policy(AutoScalingGroupName=group, PolicyName=name, **policy)
    for operation, listed, named in (
        ("describe_scheduled_actions", "ScheduledUpdateGroupActions", "ScheduledActionName"),
        ("describe_policies", "ScalingPolicies", "PolicyName"),
    ):
        pages = groups.client.get_paginator(operation).paginate(PaginationConfig={"PageSize": 1})
        found = [(one["AutoScalingGroupName"], one[named]) for page in pages for one in page[listed]]
        assert found == expected


def test_a_group_has_only_so_many(api, groups):
    at = soon(groups, hours=1)

    def fill(tx):
        [group_id] = tx.session.execute(
            ScheduledAction.__table__.select().with_only_columns(ScheduledAction.group_id)
        ).one()
        for number in range(124):
            tx.session.add(ScheduledAction(group_id=group_id, name=str(number), token="t", due=at))

    put(groups, StartTime=soon(groups, hours=2), MinSize=1)
    api.run(fill)
    groups.create(AutoScalingGroupName="other", MaxSize=4)
    other = {"AutoScalingGroupName": "other", "ScheduledActionName": "t", "MinSize": 1, "StartTime": at}
    groups.client.put_scheduled_update_group_action(**other)
    call = groups.client.put_scheduled_update_group_action
    given = {"AutoScalingGroupName": NAME, "ScheduledActionName": "t", "MinSize": 1, "StartTime": soon(groups, hours=3)}
    assert "at most 125" in api.refused("LimitExceeded", call, **given)
    put(groups, StartTime=soon(groups, hours=4), MinSize=1)


def test_metrics_of_a_group_are_collected_each_minute(api, groups):
    client = groups.client
    assert [one["Metric"] for one in client.describe_metric_collection_types()["Metrics"]] == list(METRICS)
    groups.up()
    groups.call(client.update_auto_scaling_group, DesiredCapacity=3)
    groups.run()
    asyncio.run(groups.loop.measure(api.metrics))
    assert api.metrics.data == []
    assert "1Minute" in api.refused(
        "ValidationError", client.enable_metrics_collection, AutoScalingGroupName=NAME, Granularity="1Hour"
    )
    assert "Other" in api.refused(
        "ValidationError", client.enable_metrics_collection, AutoScalingGroupName=NAME, Granularity="1Minute",
        Metrics=["Other"],
    )  # fmt: skip
    groups.call(client.enable_metrics_collection, Granularity="1Minute", Metrics=["GroupMinSize"])
    groups.call(client.enable_metrics_collection, Granularity="1Minute")
    enabled = groups.shown()["EnabledMetrics"]
    assert enabled == [{"Metric": name, "Granularity": "1Minute"} for name in METRICS]
    asyncio.run(groups.loop.measure(api.metrics))
    found = {one.identity.name: one.total for one in api.metrics.data}
    assert {name: value for name, value in found.items() if name.endswith(("Instances", "Size"))} == {
        "GroupMinSize": 0,
        "GroupMaxSize": 4,
        "GroupInServiceInstances": 1,
        "GroupPendingInstances": 2,
        "GroupStandbyInstances": 0,
        "GroupTerminatingInstances": 0,
        "GroupTotalInstances": 3,
    }
    assert (found["GroupDesiredCapacity"], found["GroupTotalCapacity"]) == (3, 3)
    at = datetime.fromtimestamp(api.metrics.data[0].at / 1000, UTC)
    assert (at.second, at.microsecond) == (0, 0)
    assert api.metrics.data[0].identity.dimensions == (("AutoScalingGroupName", NAME),)
    groups.call(client.disable_metrics_collection, Metrics=["GroupMinSize"])
    assert len(groups.shown()["EnabledMetrics"]) == len(METRICS) - 1
    groups.call(client.disable_metrics_collection)
    assert groups.shown()["EnabledMetrics"] == []
    api.metrics.is_away = True
    groups.call(client.enable_metrics_collection, Granularity="1Minute")
    asyncio.run(groups.loop.measure(api.metrics))
