"""A host is drained at a time: its instance's user sees that, moves it, and has it in a window of the week."""

from datetime import UTC, datetime, timedelta
from typing import Any

from stead_controller.resources.instances import instance_events
from tests.api.conftest import Api
from tests.support.clients import Account

HOUR = timedelta(hours=1)


def announced(api: Api, instance_id: str, deadline: timedelta | None = 50 * HOUR) -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    latest = None if deadline is None else now + deadline
    api.run(instance_events.schedule_stops, api.world.host_id, now + 24 * HOUR, latest, now)
    (event,) = shown(api, instance_id)
    return event


def shown(api: Api, instance_id: str) -> list[dict[str, Any]]:
    (status,) = api.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    return list(status["Events"])


def found(api: Api, name: str, value: str) -> list[str]:
    filters = [{"Name": name, "Values": [value]}]
    statuses = api.ec2.describe_instance_status(Filters=filters)["InstanceStatuses"]
    return [status["InstanceId"] for status in statuses]


def test_an_event_is_described_found_and_moved(api: Api) -> None:
    instance_id = api.launch()
    assert shown(api, instance_id) == []
    event = announced(api, instance_id)
    assert event["Code"] == "instance-stop"
    assert event["Description"] == "The instance is on a host that is to be taken out of service"
    assert event["NotBeforeDeadline"] - event["NotBefore"] == 26 * HOUR
    later = event["NotBefore"] + 25 * HOUR
    event_id = event["InstanceEventId"]
    moved = api.ec2.modify_instance_event_start_time(InstanceId=instance_id, InstanceEventId=event_id, NotBefore=later)[
        "Event"
    ]
    assert moved == event | {"NotBefore": later}
    assert shown(api, instance_id) == [moved]
    filters = {
        "event.code": "instance-stop",
        "event.description": "*taken out*",
        "event.instance-event-id": event_id,
        "event.not-before": f"{later:%Y-%m-%dT%H:%M:%S}.000Z",
        "event.not-before-deadline": f"{event['NotBeforeDeadline']:%Y-%m-%dT%H:%M:%S}.000Z",
    }
    for name, value in filters.items():
        assert found(api, name, value) == [instance_id], name
        assert found(api, name, "x") == []
    assert found(api, "event.not-after", "*") == []


def test_what_ec2_would_not_allow_is_refused(api: Api) -> None:
    instance_id = api.launch()
    event = announced(api, instance_id)
    move = api.ec2.modify_instance_event_start_time
    named = {"InstanceId": instance_id, "InstanceEventId": event["InstanceEventId"]}
    for bad in (event["NotBeforeDeadline"] + HOUR, datetime.now(UTC) + HOUR / 2):
        api.refused("InvalidInstanceEventStartTime", move, **named, NotBefore=bad)
    named["InstanceEventId"] = "instance-event-00000000000000009"
    api.refused("InvalidInstanceEventIDNotFound", move, **named, NotBefore=event["NotBeforeDeadline"])
    named["InstanceEventId"] = "x"
    api.refused("InvalidInstanceEventIDNotFound", move, **named, NotBefore=event["NotBeforeDeadline"])
    final = announced(api, instance_id, None)
    assert "NotBeforeDeadline" not in final
    named["InstanceEventId"] = final["InstanceEventId"]
    api.refused("InvalidInstanceEventStartTime", move, **named, NotBefore=event["NotBefore"] + HOUR)


def test_an_event_window_says_when_the_event_is(api: Api) -> None:
    instance_id, ec2 = api.launch(), api.ec2
    created = ec2.create_instance_event_window(
        Name="nights",
        CronExpression="* 0-4,20-23 * * *",
        TagSpecifications=[{"ResourceType": "instance-event-window", "Tags": [{"Key": "a", "Value": "b"}]}],
    )["InstanceEventWindow"]
    window = {"InstanceEventWindowId": created["InstanceEventWindowId"]}
    about = {
        "Name": "nights",
        "TimeRanges": [],
        "CronExpression": "* 0-4,20-23 * * *",
        "AssociationTarget": {"InstanceIds": [], "Tags": [], "DedicatedHostIds": []},
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    assert created == window | about | {"State": "creating"}
    ranges = [
        {"StartWeekDay": "monday", "StartHour": 22, "EndWeekDay": "tuesday", "EndHour": 2},
        {"StartWeekDay": "saturday", "StartHour": 23, "EndWeekDay": "sunday", "EndHour": 4},
    ]
    del about["CronExpression"]
    about |= {"TimeRanges": ranges, "State": "active"}
    assert ec2.modify_instance_event_window(**window, TimeRanges=ranges)["InstanceEventWindow"] == window | about
    target = {"InstanceIds": [instance_id]}
    about["AssociationTarget"] |= target
    associated = ec2.associate_instance_event_window(**window, AssociationTarget=target)["InstanceEventWindow"]
    assert associated == window | about
    by_instance = [{"Name": "instance-id", "Values": [instance_id]}]
    assert ec2.describe_instance_event_windows(Filters=by_instance)["InstanceEventWindows"] == [associated]

    # Of any eight days one begins when a range does; a deadline of two has the event where the cloud planned it.
    event = announced(api, instance_id, 8 * 24 * HOUR)["NotBefore"]
    week = event.isoweekday() % 7 * 24 + event.hour
    assert week in {46, 47, 48, 49} or week >= 167 or week < 4
    ec2.disassociate_instance_event_window(**window, AssociationTarget=target)
    ec2.delete_instance_event_window(**window)
    again = announced(api, instance_id, 8 * 24 * HOUR)["NotBefore"]
    assert again - datetime.now(UTC) < 24 * HOUR
    api.refused("InvalidInstanceEventWindowID.NotFound", ec2.delete_instance_event_window, **window)


def test_windows_are_listed_by_pages_and_removed(api: Api) -> None:
    ec2 = api.ec2
    made = [ec2.create_instance_event_window(CronExpression="* 0-4 * * *")["InstanceEventWindow"] for _ in range(21)]
    windows = [one["InstanceEventWindowId"] for one in made]
    pages = ec2.get_paginator("describe_instance_event_windows").paginate(PaginationConfig={"PageSize": 20})
    found = [[one["InstanceEventWindowId"] for one in page["InstanceEventWindows"]] for page in pages]
    assert [len(page) for page in found] == [20, 1]
    assert [one for page in found for one in page] == sorted(windows)
    tag = {"InstanceTags": [{"Key": "stage", "Value": "test"}]}
    first, second = ({"InstanceEventWindowId": one} for one in windows[:2])
    ec2.associate_instance_event_window(**first, AssociationTarget=tag)
    refused = ec2.associate_instance_event_window
    api.refused("Resource.AlreadyAssociated", refused, **second, AssociationTarget=tag)
    both = tag | {"InstanceIds": ["i-00000000000000009"]}
    api.refused("InvalidParameterCombination", refused, **second, AssociationTarget=both)
    api.refused("DependencyViolation", ec2.delete_instance_event_window, **first)
    gone = ec2.delete_instance_event_window(**first, ForceDelete=True)["InstanceEventWindowState"]
    assert gone == first | {"State": "deleting"}
    api.refused("InvalidParameterValue", ec2.create_instance_event_window, CronExpression="0 0-4 * * *")
    api.refused("MissingParameter", ec2.create_instance_event_window)
    asked = {"CronExpression": "* 0-4 * * *", "TimeRanges": [{"StartHour": 1}]}
    api.refused("InvalidParameterCombination", ec2.create_instance_event_window, **asked)
    api.refused("InvalidInstanceEventWindowID.Malformed", ec2.delete_instance_event_window, InstanceEventWindowId="x")


def test_a_window_by_the_aws_command(account: Account) -> None:
    ec2, tag = account.aws, {"Key": "stage", "Value": "test"}
    tagged = "ResourceType=instance-event-window,Tags=[{Key=a,Value=b}]"
    made = ec2(
        "ec2", "create-instance-event-window", "--name", "nights", "--cron-expression", "* 0-4 * * *",
        "--tag-specifications", tagged,
    )["InstanceEventWindow"]  # fmt: skip
    window = ("--instance-event-window-id", made["InstanceEventWindowId"])
    hours = {"StartWeekDay": "monday", "StartHour": 22, "EndWeekDay": "tuesday", "EndHour": 2}
    range_ = ",".join(f"{name}={value}" for name, value in hours.items())
    changed = ec2("ec2", "modify-instance-event-window", *window, "--time-range", range_)["InstanceEventWindow"]
    assert (changed["TimeRanges"], changed["Tags"]) == ([hours], [{"Key": "a", "Value": "b"}])
    target = ("--association-target", "InstanceTags=[{Key=stage,Value=test}]")
    ec2("ec2", "associate-instance-event-window", *window, *target)
    (found,) = ec2("ec2", "describe-instance-event-windows", "--filters", "Name=instance-tag-key,Values=stage")[
        "InstanceEventWindows"
    ]
    assert found["AssociationTarget"]["Tags"] == [tag]
    refused = account.aws_result("ec2", "delete-instance-event-window", *window)
    assert "(DependencyViolation)" in refused.stderr
    ec2("ec2", "disassociate-instance-event-window", *window, *target)
    gone = ec2("ec2", "delete-instance-event-window", *window)["InstanceEventWindowState"]
    assert gone == {"InstanceEventWindowId": made["InstanceEventWindowId"], "State": "deleting"}
    assert ec2("ec2", "describe-instance-event-windows")["InstanceEventWindows"] == []
