"""Requests for Spot Instances that find no room: they wait, and are fulfilled in their order when there is some."""

import asyncio
from datetime import timedelta
from pathlib import Path

from stead_controller.aws.ec2.fleet import spot_launch
from stead_controller.clock import now
from stead_controller.db.tables import Instance, PriceBook, SpotRequest, SpotRequestValue, Tag
from stead_controller.resources import quotas
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_controller.workflows.spot_launches import SpotLaunches
from tests.api.test_spot_instances import described, interrupted, requested, room_for, run
from tests.api.test_spot_requests import request
from tests.support.waiting import wait_for

TAGS = [{"Key": "a", "Value": "b"}]
TAGGED = [{"ResourceType": "spot-instances-request", "Tags": TAGS}]


def launches(api, *, at=None):
    return SpotLaunches(api.database, api.world.cloud, spot_launch.read, lambda: at or now())


def try_all(api, **given):
    asyncio.run(launches(api, **given).try_all())


def states(api, made):
    shown = [requested(api, one["SpotInstanceRequestId"]) for one in made]
    return [(one["State"], one["Status"]["Code"]) for one in shown]


def count(api, table):
    return api.run(lambda tx: tx.session.query(table).count())


WAITS = ("open", "capacity-not-available")
FULFILLED = ("active", "fulfilled")


def test_one_that_offers_less_than_the_price_waits_until_it_falls(api):
    [made] = request(api, SpotPrice="0.002")
    assert (made["State"], made["Status"]["Code"], made["SpotPrice"]) == ("open", "price-too-low", "0.002")
    assert "lower than the minimum required Spot request fulfillment price" in made["Status"]["Message"]
    assert "SpotPrice" not in made["LaunchSpecification"]
    try_all(api)
    assert states(api, [made]) == [("open", "price-too-low")]
    api.run(lambda tx: tx.session.add(PriceBook(valid_from=1, text='currency = "EUR"')))
    try_all(api)
    assert states(api, [made]) == [FULFILLED]


def test_it_waits_without_room_and_is_fulfilled_when_there_is_some(api):
    room_for(api, 0)
    [made] = request(api, TagSpecifications=TAGGED, specification={"UserData": "eA=="})
    assert (made["State"], made["Status"]["Code"]) == WAITS
    assert made["Status"]["Message"] == "There is no Spot capacity available that matches your request."
    assert made["Tags"] == TAGS
    assert made["LaunchSpecification"] == {
        "ImageId": api.world.image_id,
        "InstanceType": "t3.micro",
        "UserData": "eA==",
        "Placement": {},
    }
    assert not {"InstanceId", "LaunchedAvailabilityZone", "Fault"} & made.keys()
    assert requested(api, made["SpotInstanceRequestId"]) == made
    try_all(api)
    assert states(api, [made]) == [WAITS]
    assert (count(api, Instance), interrupted(api)) == (0, {})

    room_for(api, 2)
    try_all(api)
    api.ec2.get_waiter("spot_instance_request_fulfilled").wait(
        SpotInstanceRequestIds=[made["SpotInstanceRequestId"]], WaiterConfig={"MaxAttempts": 1}
    )
    found = requested(api, made["SpotInstanceRequestId"])
    assert (found["State"], found["Status"]["Code"], found["Tags"]) == (*FULFILLED, TAGS)
    assert found["CreateTime"] == made["CreateTime"]
    instance = described(api, found["InstanceId"])
    assert found["Status"]["UpdateTime"] == instance["LaunchTime"]
    assert instance["SpotInstanceRequestId"] == made["SpotInstanceRequestId"]
    assert (instance["InstanceLifecycle"], instance.get("Tags")) == ("spot", None)
    data = api.ec2.describe_instance_attribute(InstanceId=found["InstanceId"], Attribute="userData")
    assert data["UserData"]["Value"] == "eA=="
    assert count(api, SpotRequestValue) == 0
    room_for(api, 100)
    try_all(api)
    assert count(api, Instance) == 1


def test_those_that_wait_longest_are_first_and_no_more_than_were_asked_for(api):
    room_for(api, 2)
    first = request(api, InstanceCount=3)
    assert sorted(states(api, first)) == [FULFILLED, WAITS, WAITS]
    second = request(api, InstanceCount=2)
    assert [one["Status"]["Code"] for one in second] == ["pending-evaluation"] * 2
    other = request(api, specification={"InstanceType": "t3.small"})
    assert states(api, other) == [WAITS]
    room_for(api, 6)
    try_all(api)
    assert states(api, first) == [FULFILLED] * 3
    assert (sorted(states(api, second)), states(api, other)) == ([FULFILLED, WAITS], [WAITS])
    room_for(api, 100)
    try_all(api)
    assert states(api, [*second, *other]) == [FULFILLED] * 3
    assert count(api, Instance) == 6


def test_one_that_is_too_large_does_not_hold_up_the_others(api):
    room_for(api, 0)
    large = request(api, specification={"InstanceType": "m5.xlarge"})
    small = request(api)
    room_for(api, 2)
    try_all(api)
    assert states(api, [*large, *small]) == [WAITS, FULFILLED]


def test_a_new_one_does_not_pass_those_that_wait_for_the_same(api):
    room_for(api, 0)
    first = request(api)
    room_for(api, 2)
    second = request(api)
    assert states(api, [*first, *second]) == [WAITS, ("open", "pending-evaluation")]
    try_all(api)
    assert states(api, [*first, *second]) == [FULFILLED, WAITS]


def test_a_cancelled_one_is_never_fulfilled_and_is_forgotten(api):
    room_for(api, 0)
    made = request(api, InstanceCount=2, TagSpecifications=TAGGED)
    ids = [one["SpotInstanceRequestId"] for one in made]
    gone = api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=ids[:1])["CancelledSpotInstanceRequests"]
    assert gone == [{"SpotInstanceRequestId": ids[0], "State": "cancelled"}]
    before = requested(api, ids[0])
    assert (
        api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=ids[:1])["CancelledSpotInstanceRequests"] == gone
    )
    assert requested(api, ids[0]) == before
    room_for(api, 100)
    try_all(api)
    assert states(api, made) == [("cancelled", "canceled-before-fulfillment"), FULFILLED]
    assert count(api, Instance) == 1
    settings = Settings(Path("/nowhere"))
    kept = timedelta(seconds=settings.terminated_kept_seconds)
    ended = before["Status"]["UpdateTime"]
    api.run(clean_up, settings, ended + kept - timedelta(seconds=1))
    assert count(api, SpotRequest) == 2
    api.run(clean_up, settings, ended + kept)
    assert (count(api, SpotRequest), count(api, SpotRequestValue)) == (1, 0)
    assert {tag.resource_id for tag in api.run(lambda tx: tx.session.query(Tag).all())} == set(ids[1:])


def test_one_that_can_never_be_launched_fails(api):
    room_for(api, 0)
    group = api.ec2.create_security_group(GroupName="mine", Description="mine", VpcId=api.world.one.vpc_id)["GroupId"]
    made = request(api, specification={"SecurityGroupIds": [group]})
    api.ec2.delete_security_group(GroupId=group)
    try_all(api)
    assert states(api, made) == [("failed", "bad-parameters")]
    found = requested(api, made[0]["SpotInstanceRequestId"])
    assert found["Fault"]["Code"] == "bad-parameters"
    assert group in found["Fault"]["Message"]
    assert found["Status"]["Message"] == "Your Spot request failed due to bad parameters."
    for name, value in (("fault-code", "bad-parameters"), ("fault-message", f"*{group}*"), ("state", "failed")):
        [shown] = api.ec2.describe_spot_instance_requests(Filters=[{"Name": name, "Values": [value]}])[
            "SpotInstanceRequests"
        ]
        assert shown == found
    try_all(api)
    assert requested(api, made[0]["SpotInstanceRequestId"]) == found


def test_a_call_that_is_refused_for_more_than_room_makes_no_request(api):
    subnet = api.world.one.subnet_ids[0]
    interface = {"DeviceIndex": 0, "SubnetId": subnet, "PrivateIpAddress": "172.31.0.77"}
    request(api, specification={"NetworkInterfaces": [interface]})
    api.refused("InvalidIPAddress.InUse", lambda: request(api, specification={"NetworkInterfaces": [interface]}))


def test_into_a_placement_group_it_waits_for_that(api):
    api.ec2.create_placement_group(GroupName="apart", Strategy="spread")
    made = request(api, InstanceCount=2, specification={"Placement": {"GroupName": "apart"}})
    assert sorted(states(api, made)) == [FULFILLED, WAITS]
    try_all(api)
    assert sorted(states(api, made)) == [FULFILLED, ("open", "placement-group-constraint")]


def test_what_waits_counts_towards_the_quota(api):
    account = api.world.one.caller.account_id
    api.run(quotas.set_value, account, quotas.STANDARD_VCPUS, 6)
    room_for(api, 0)
    api.refused("VcpuLimitExceeded", lambda: request(api, InstanceCount=4))
    made = request(api, InstanceCount=2)
    api.refused("VcpuLimitExceeded", lambda: request(api, InstanceCount=2))
    request(api)
    api.run(quotas.set_value, account, quotas.STANDARD_VCPUS, 2)
    room_for(api, 100)
    run(api)
    try_all(api)
    assert states(api, made) == [("open", "limit-exceeded")] * 2
    api.run(quotas.set_value, account, quotas.STANDARD_VCPUS, 100)
    try_all(api)
    assert states(api, made) == [FULFILLED] * 2


def test_it_is_tried_again_by_time_less_and_less_often(api):
    room_for(api, 0)
    start = request(api)[0]["CreateTime"]
    waits = []
    at = start
    for _ in range(6):
        [row] = api.run(lambda tx: tx.session.query(SpotRequest).all())
        waits.append((row.next_try - at).total_seconds())
        at = row.next_try
        asyncio.run(launches(api, at=at - timedelta(milliseconds=1)).try_due())
        [same] = api.run(lambda tx: tx.session.query(SpotRequest).all())
        assert same.next_try == at
        asyncio.run(launches(api, at=at).try_due())
    assert [round(wait) for wait in waits] == [5, 10, 20, 40, 60, 60]
    room_for(api, 2)
    # The clock was set back: the next try is further away than any is.
    asyncio.run(launches(api, at=start - timedelta(days=1)).try_due())
    [row] = api.run(lambda tx: tx.session.query(SpotRequest).all())
    assert row.instance_id is not None


def test_a_new_process_tries_all_at_once(api):
    room_for(api, 0)
    made = request(api)
    room_for(api, 2)

    async def one_process():
        running = asyncio.create_task(launches(api).run())
        await asyncio.to_thread(wait_for, lambda: states(api, made) == [FULFILLED], "the request is fulfilled")
        running.cancel()

    asyncio.run(one_process())


def test_filters_find_what_waits(api):
    room_for(api, 0)
    group = api.world.one.group_id
    interface = {"DeviceIndex": 0, "SubnetId": api.world.one.subnet_ids[0], "Groups": [group], "Description": "mine"}
    request(api, specification={"NetworkInterfaces": [interface], "Monitoring": {"Enabled": True}})
    for name, value, other in (
        ("launch.image-id", "ami-*", "ami-1"),
        ("launch.instance-type", "t3.micro", "t3.nano"),
        ("launch.monitoring-enabled", "true", "false"),
        ("network-interface.description", "mine", "yours"),
        ("network-interface.group-id", group, "sg-1"),
        ("state", "open", "active"),
        ("status-code", "capacity-not-available", "fulfilled"),
        ("status-message", "There is no Spot*", "Your*"),
        ("type", "one-time", "persistent"),
    ):
        assert (found(api, name, value), found(api, name, other)) == (1, 0), name


def found(api, name, value):
    asked = [{"Name": name, "Values": [value]}]
    return len(api.ec2.describe_spot_instance_requests(Filters=asked)["SpotInstanceRequests"])
