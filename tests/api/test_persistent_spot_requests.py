"""Persistent requests for Spot Instances, and the times between which requests are valid."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from stead_controller.clock import now
from stead_controller.db.tables import Instance, SpotRequest, SpotRequestValue
from stead_controller.hosts.reports import apply_progress
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.api.test_spot_instances import described, requested, room_for, run
from tests.api.test_spot_requests import request
from tests.api.test_waiting_spot_requests import FULFILLED, WAITS, count, found, launches, states, try_all

SETTINGS = Settings(Path("/nowhere"))


def persistent(api, **given):
    return request(api, Type="persistent", **given)


def report(api, instance_id, **machine):
    """The host says that a machine runs, or is off or gone as was wanted."""
    condition = pb.CONDITION_READY if machine else pb.CONDITION_ABSENT
    status = pb.ResourceStatus(
        kind=desired.KIND_MACHINE, id=instance_id, condition=condition, machine=pb.MachineStatus(**machine)
    )
    api.run(apply_progress, [(api.world.host_id, [status])], now())


def end(api, instance_id):
    api.ec2.terminate_instances(InstanceIds=[instance_id])
    report(api, instance_id)


def instance_of(api, made):
    return requested(api, made["SpotInstanceRequestId"]).get("InstanceId")


def test_it_gets_another_instance_when_its_own_has_ended(api):
    [made] = persistent(api)
    assert (made["Type"], made["State"], "ValidUntil" in made) == ("persistent", "active", False)
    first = made["InstanceId"]
    assert [found(api, "type", kind) for kind in ("persistent", "one-time")] == [1, 0]
    api.ec2.terminate_instances(InstanceIds=[first])
    assert states(api, [made]) == [("open", "instance-terminated-by-user")]
    try_all(api)
    assert instance_of(api, made) == first
    report(api, first)
    opened = requested(api, made["SpotInstanceRequestId"])
    assert (opened["State"], opened["Status"]["Code"]) == ("open", "pending-evaluation")
    assert opened["LaunchSpecification"]["InstanceType"] == "t3.micro"
    assert found(api, "launch.instance-type", "t3.micro") == 1
    room_for(api, 0)
    try_all(api)
    assert states(api, [made]) == [WAITS]
    room_for(api, 2)
    try_all(api)
    assert states(api, [made]) == [FULFILLED]
    second = instance_of(api, made)
    assert second != first
    assert described(api, second)["SpotInstanceRequestId"] == made["SpotInstanceRequestId"]
    # The first is forgotten, and the request and its tags are not.
    api.ec2.create_tags(Resources=[made["SpotInstanceRequestId"]], Tags=[{"Key": "a", "Value": "b"}])
    api.run(clean_up, SETTINGS, now() + timedelta(hours=2))
    assert [one.id for one in api.run(lambda tx: tx.session.query(Instance).all())] == [second]
    assert requested(api, made["SpotInstanceRequestId"])["Tags"] == [{"Key": "a", "Value": "b"}]


def test_a_one_time_request_gets_none(api):
    [made] = request(api)
    end(api, made["InstanceId"])
    try_all(api)
    assert states(api, [made]) == [("closed", "instance-terminated-by-user")]
    assert count(api, Instance) == 1


def test_a_cancelled_one_gets_none(api):
    made = persistent(api, InstanceCount=2)
    ids = [one["SpotInstanceRequestId"] for one in made]
    end(api, made[0]["InstanceId"])
    api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=ids)
    assert states(api, made) == [
        ("cancelled", "canceled-before-fulfillment"),
        ("cancelled", "request-canceled-and-instance-running"),
    ]
    end(api, made[1]["InstanceId"])
    try_all(api)
    assert states(api, made)[1] == ("cancelled", "instance-terminated-by-user")
    assert count(api, Instance) == 2
    api.run(clean_up, SETTINGS, now() + timedelta(hours=2))
    assert (count(api, SpotRequest), count(api, SpotRequestValue)) == (0, 0)


def test_one_whose_instance_ends_is_cancelled_before_another_comes(api):
    [made] = persistent(api)
    api.ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[made["SpotInstanceRequestId"]])
    report(api, made["InstanceId"])
    try_all(api)
    assert states(api, [made]) == [("cancelled", "instance-terminated-by-user")]


def test_its_instance_can_be_stopped_and_started(api):
    [made] = persistent(api)
    instance = made["InstanceId"]
    [plain] = request(api)
    api.refused("UnsupportedOperation", api.ec2.stop_instances, InstanceIds=[plain["InstanceId"]])
    report(api, instance, power=pb.MACHINE_POWER_RUNNING, start_count=1)
    api.ec2.stop_instances(InstanceIds=[instance])
    stopped = ("disabled", "instance-stopped-by-user")
    assert states(api, [made]) == [stopped]
    report(api, instance, power=pb.MACHINE_POWER_OFF, start_count=1)
    assert described(api, instance)["State"]["Name"] == "stopped"
    another = {"InstanceId": instance, "InstanceType": {"Value": "m5.large"}}
    api.refused("UnsupportedOperation", api.ec2.modify_instance_attribute, **another)
    assert states(api, [made]) == [stopped]
    try_all(api)
    assert instance_of(api, made) == instance
    api.ec2.start_instances(InstanceIds=[instance])
    assert states(api, [made]) == [FULFILLED]


def test_a_stopped_one_is_terminated_when_its_request_is_cancelled(api):
    [made] = persistent(api)
    instance = made["InstanceId"]
    api.set_running(instance)
    api.ec2.stop_instances(InstanceIds=[instance])
    [gone] = api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[made["SpotInstanceRequestId"]])[
        "CancelledSpotInstanceRequests"
    ]
    assert gone["State"] == "cancelled"
    assert described(api, instance)["State"]["Name"] == "shutting-down"
    assert states(api, [made]) == [("cancelled", "instance-terminated-by-user")]


def test_it_waits_for_the_time_from_which_it_is_valid(api):
    at = now().replace(microsecond=0) + timedelta(hours=1)
    [made] = request(api, ValidFrom=at, ValidUntil=at + timedelta(hours=1))
    assert (made["State"], made["Status"]["Code"], made["ValidFrom"]) == ("open", "not-scheduled-yet", at)
    assert made["ValidUntil"] == at + timedelta(hours=1)
    before = at - timedelta(seconds=1)
    try_all(api, at=before)
    asyncio.run(launches(api, at=before).try_due())
    assert states(api, [made]) == [("open", "not-scheduled-yet")]
    assert found(api, "valid-from", at.isoformat()) == 1
    assert found(api, "valid-until", at.isoformat()) == 0
    asyncio.run(launches(api, at=at).try_due())
    assert states(api, [made]) == [FULFILLED]


def test_what_is_not_fulfilled_in_time_expires(api):
    room_for(api, 0)
    [made] = request(api)
    until = made["ValidUntil"]
    assert until == made["CreateTime"] + timedelta(days=7)
    room_for(api, 100)
    [late] = request(api)  # waits for its turn
    try_all(api, at=until)
    assert states(api, [made, late]) == [("cancelled", "schedule-expired"), FULFILLED]
    assert requested(api, made["SpotInstanceRequestId"])["Status"]["UpdateTime"] == until
    [other] = request(api)
    api.run(clean_up, SETTINGS, other["ValidUntil"] + timedelta(days=1))
    assert states(api, [other, late]) == [FULFILLED] * 2


def test_time_ends_what_waits_and_what_is_persistent(api):
    at = now().replace(microsecond=0) + timedelta(hours=1)
    [running] = persistent(api, ValidUntil=at)
    room_for(api, 0)
    [waiting] = persistent(api, ValidUntil=at)
    api.run(clean_up, SETTINGS, at - timedelta(seconds=1))
    assert states(api, [running, waiting]) == [FULFILLED, WAITS]
    api.run(clean_up, SETTINGS, at)
    gone = ("cancelled", "request-canceled-and-instance-running"), ("cancelled", "schedule-expired")
    assert states(api, [running, waiting]) == list(gone)


@pytest.mark.parametrize("name", ["ValidFrom", "ValidUntil"])
def test_times_that_are_past_are_refused(api, name):
    for given in (
        {name: now() - timedelta(seconds=1)},
        {"ValidFrom": now() + timedelta(hours=2), "ValidUntil": now() + timedelta(hours=1)},
    ):
        message = api.refused("InvalidParameterValue", lambda given=given: request(api, **given))
        assert "too early" in message


def test_run_instances_takes_no_persistent_ones_that_would_be_terminated(api):
    for behavior, code in (("terminate", "InvalidParameterCombination"), ("stop", "UnsupportedOperation")):
        options = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": behavior}
        market = {"MarketType": "spot", "SpotOptions": options}
        api.refused(code, lambda market=market: run(api, InstanceMarketOptions=market))
    api.refused("UnsupportedOperation", lambda: persistent(api, InstanceInterruptionBehavior="hibernate"))
