"""A host is drained at a time: its instance's user sees that, moves it, and the controller carries it out."""

from datetime import UTC, datetime, timedelta
from typing import Any

from stead_controller.resources.instances import instance_events
from tests.api.conftest import Api

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
