"""Capacity reservations through boto3: made, shown, filtered, used by launches, changed, ended; what is refused of them."""

from datetime import timedelta

import pytest

from stead_controller.clock import now
from stead_controller.db.tables import Instance
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from tests.api.identity import document, who_may

TYPE = "stead.tiny"
FULL = "ReservationCapacityExceeded"
NOBODY = "cr-" + "0" * 17
LATER = (now() + timedelta(hours=2)).replace(microsecond=0)


def create(api, count=1, client=None, **given):
    values = {"InstanceType": TYPE, "InstancePlatform": "Linux/UNIX", "AvailabilityZone": "us-east-1a"}
    made = (client or api.ec2).create_capacity_reservation(**values | {"InstanceCount": count} | given)
    return made["CapacityReservation"]


def shown(api, *ids, **filters):
    asked = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    return api.ec2.describe_capacity_reservations(CapacityReservationIds=ids, Filters=asked)["CapacityReservations"]


def launch(api, count=1, *, client=None, **specification):
    given = {"CapacityReservationSpecification": specification} if specification else {}
    values = {"ImageId": api.world.image_id, "InstanceType": TYPE, "MaxCount": count, "MinCount": count}
    return (client or api.ec2).run_instances(**values, **given)["Instances"]


def target(reservation_id):
    return {"CapacityReservationTarget": {"CapacityReservationId": reservation_id}}


def instance(api, instance_id):
    [reservation] = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]


def stopped(api, instance_id):
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "stopped"))


def test_a_reservation_is_shown_as_it_is(api):
    tags = [{"ResourceType": "capacity-reservation", "Tags": [{"Key": "team", "Value": "a"}]}]
    made = create(
        api, 3, InstanceMatchCriteria="targeted", EndDateType="limited", EndDate=LATER, TagSpecifications=tags
    )
    reserved = made["CapacityReservationId"]
    assert made == {
        "CapacityReservationId": reserved,
        "OwnerId": "111111111111",
        "CapacityReservationArn": f"arn:aws:ec2:us-east-1:111111111111:capacity-reservation/{reserved}",
        "AvailabilityZone": "us-east-1a",
        "AvailabilityZoneId": "use1-az1",
        "InstanceType": TYPE,
        "InstancePlatform": "Linux/UNIX",
        "Tenancy": "default",
        "TotalInstanceCount": 3,
        "AvailableInstanceCount": 3,
        "EbsOptimized": False,
        "EphemeralStorage": False,
        "State": "active",
        "StartDate": made["CreateDate"],
        "CreateDate": made["CreateDate"],
        "EndDate": LATER,
        "EndDateType": "limited",
        "InstanceMatchCriteria": "targeted",
        "ReservationType": "default",
        "CapacityAllocations": [],
        "Tags": [{"Key": "team", "Value": "a"}],
    }
    assert shown(api, reserved) == [made]
    [one] = launch(api, **target(reserved))
    [used] = shown(api, reserved)
    assert (used["AvailableInstanceCount"], used["CapacityAllocations"]) == (
        2,
        [{"AllocationType": "used", "Count": 1}],
    )
    assert one["CapacityReservationId"] == reserved
    assert one["CapacityReservationSpecification"] == target(reserved)
    groups = api.ec2.get_groups_for_capacity_reservation
    assert groups(CapacityReservationId=reserved, MaxResults=1000)["CapacityReservationGroups"] == []
    nobodys = {"CapacityReservationId": "cr-" + "0" * 17}
    api.refused("InvalidCapacityReservationId.NotFound", groups, **nobodys)
    usage = api.ec2.get_capacity_reservation_usage(CapacityReservationId=reserved)
    del usage["ResponseMetadata"]
    assert usage == {
        "CapacityReservationId": reserved,
        "InstanceType": TYPE,
        "TotalInstanceCount": 3,
        "AvailableInstanceCount": 2,
        "State": "active",
        "InstanceUsages": [{"AccountId": "111111111111", "UsedInstanceCount": 1}],
    }


def test_each_filter_finds_what_it_says(api):
    mine = create(api, EndDate=LATER, EbsOptimized=True)["CapacityReservationId"]
    other = create(api, InstanceType="t3.nano", InstanceMatchCriteria="targeted", TagSpecifications=[TAGGED])[
        "CapacityReservationId"
    ]
    api.ec2.cancel_capacity_reservation(CapacityReservationId=other)
    create(api, client=api.other)

    def found(name, value):
        asked = [{"Name": name, "Values": [value]}]
        got = api.ec2.describe_capacity_reservations(Filters=asked)["CapacityReservations"]
        return {one["CapacityReservationId"] for one in got}

    both = {mine, other}
    for name, value, ids in (
        ("availability-zone", "us-east-1a", both),
        ("availability-zone", "us-east-1b", set()),
        ("end-date", LATER.isoformat(), {mine}),
        ("end-date-type", "limited", {mine}),
        ("end-date-type", "unlimited", {other}),
        ("instance-match-criteria", "targeted", {other}),
        ("instance-platform", "Linux/UNIX", both),
        ("instance-type", TYPE, {mine}),
        ("outpost-arn", "*", set()),
        ("owner-id", "111111111111", both),
        ("owner-id", "222222222222", set()),
        ("placement-group-arn", "*", set()),
        ("start-date", "*", both),
        ("state", "cancelled", {other}),
        ("tenancy", "default", both),
        ("tenancy", "dedicated", set()),
        ("tag:team", "a", {other}),
    ):
        assert found(name, value) == ids, name
    assert {one["CapacityReservationId"] for one in shown(api)} == both
    first = api.ec2.describe_capacity_reservations(MaxResults=1)
    second = api.ec2.describe_capacity_reservations(MaxResults=1, NextToken=first["NextToken"])
    pages = [one["CapacityReservationId"] for page in (first, second) for one in page["CapacityReservations"]]
    assert pages == sorted(both)


TAGGED = {"ResourceType": "capacity-reservation", "Tags": [{"Key": "team", "Value": "a"}]}


def test_instances_are_found_by_their_reservation(api):
    reserved = create(api)["CapacityReservationId"]
    meant = create(api, InstanceMatchCriteria="targeted")["CapacityReservationId"]
    [free] = launch(api, CapacityReservationPreference="none")
    [inside] = launch(api)
    [only] = launch(api, CapacityReservationPreference="capacity-reservations-only", **target(meant))
    specification = "capacity-reservation-specification.capacity-reservation"

    def found(name, value):
        pages = api.ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])["Reservations"]
        return [one["InstanceId"] for page in pages for one in page["Instances"]]

    assert found("capacity-reservation-id", reserved) == [inside["InstanceId"]]
    assert found(f"{specification}-preference", "none") == [free["InstanceId"]]
    assert found(f"{specification}-preference", "open") == [inside["InstanceId"]]
    assert found(f"{specification}-target.capacity-reservation-id", meant) == [only["InstanceId"]]
    assert "CapacityReservationId" not in instance(api, free["InstanceId"])
    assert free["CapacityReservationSpecification"] == {"CapacityReservationPreference": "none"}
    data = api.ec2.get_launch_template_data(InstanceId=only["InstanceId"])["LaunchTemplateData"]
    assert data["CapacityReservationSpecification"] == only["CapacityReservationSpecification"]


def test_a_launch_template_and_a_fleet_launch_into_their_target(api):
    reserved = create(api, 2, InstanceMatchCriteria="targeted")["CapacityReservationId"]
    data = {"ImageId": api.world.image_id, "InstanceType": TYPE, "CapacityReservationSpecification": target(reserved)}
    api.ec2.create_launch_template(LaunchTemplateName="own", LaunchTemplateData=data)
    named = {"LaunchTemplateName": "own", "Version": "1"}
    [one] = api.ec2.run_instances(LaunchTemplate=named, MinCount=1, MaxCount=1)["Instances"]
    assert one["CapacityReservationId"] == reserved
    fleet = api.ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": named}],
        TargetCapacitySpecification={"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "on-demand"},
    )
    [ids] = [one["InstanceIds"] for one in fleet["Instances"]]
    assert [instance(api, one)["CapacityReservationId"] for one in ids] == [reserved]
    assert [one["ErrorCode"] for one in fleet["Errors"]] == [FULL]


def test_a_fleet_may_use_reservations_first(api):
    create(api, 1, InstanceType="t3.nano")
    data = {"ImageId": api.world.image_id, "InstanceType": TYPE}
    api.ec2.create_launch_template(LaunchTemplateName="own", LaunchTemplateData=data)
    configs = [
        {
            "LaunchTemplateSpecification": {"LaunchTemplateName": "own", "Version": "1"},
            "Overrides": [{"AvailabilityZone": "us-east-1a", "InstanceType": kind} for kind in (TYPE, "t3.nano")],
        }
    ]
    asked = {
        "Type": "instant",
        "LaunchTemplateConfigs": configs,
        "TargetCapacitySpecification": {"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "on-demand"},
    }
    first = {"CapacityReservationOptions": {"UsageStrategy": "use-capacity-reservations-first"}}
    made = api.ec2.create_fleet(**asked, OnDemandOptions=first)
    assert {one["InstanceType"]: len(one["InstanceIds"]) for one in made["Instances"]} == {TYPE: 1, "t3.nano": 1}
    assert made["Errors"] == []
    [again] = api.ec2.create_fleet(**asked)["Instances"]
    assert again["InstanceType"] == TYPE
    wrong = {"CapacityReservationOptions": {"UsageStrategy": "later"}}
    api.refused("InvalidParameterValue", api.ec2.create_fleet, **asked, OnDemandOptions=wrong)


def test_a_full_one_is_said_in_ec2s_words(api):
    reserved = create(api, InstanceMatchCriteria="targeted")["CapacityReservationId"]
    words = api.refused(FULL, lambda: launch(api, 2, **target(reserved)))
    assert words == (
        "The requested reservation does not have sufficient compatible and available capacity for this request."
    )
    api.refused(FULL, lambda: launch(api, CapacityReservationPreference="capacity-reservations-only"))


def test_a_stopped_instance_gets_another_target(api):
    reserved = create(api, InstanceMatchCriteria="targeted")["CapacityReservationId"]
    [one] = launch(api)
    modify = api.ec2.modify_instance_capacity_reservation_attributes
    asked = {"InstanceId": one["InstanceId"], "CapacityReservationSpecification": target(reserved)}
    api.refused("IncorrectInstanceState", modify, **asked)
    stopped(api, one["InstanceId"])
    assert modify(**asked)["Return"] is True
    assert instance(api, one["InstanceId"])["CapacityReservationSpecification"] == target(reserved)
    modify(**asked | {"CapacityReservationSpecification": {"CapacityReservationPreference": "none"}})
    assert instance(api, one["InstanceId"])["CapacityReservationSpecification"] == {
        "CapacityReservationPreference": "none"
    }
    for code, wrong in (
        ("MissingParameter", {}),
        ("InvalidParameterValue", {"CapacityReservationPreference": "some"}),
        ("InvalidParameterCombination", {"CapacityReservationPreference": "open"} | target(reserved)),
        ("InvalidCapacityReservationId.NotFound", target(NOBODY)),
        ("InvalidCapacityReservationId.Malformed", target("cr-1")),
        ("UnsupportedOperation", {"CapacityReservationTarget": {"CapacityReservationResourceGroupArn": "arn:aws:x"}}),
    ):
        api.refused(code, modify, **asked | {"CapacityReservationSpecification": wrong})


def test_a_reservation_is_changed_cancelled_and_ends_at_its_time(api, tmp_path):
    reserved = create(api)["CapacityReservationId"]
    modify = api.ec2.modify_capacity_reservation
    changes = {"InstanceCount": 2, "EndDate": LATER, "EndDateType": "limited", "InstanceMatchCriteria": "targeted"}
    assert modify(CapacityReservationId=reserved, **changes)["Return"] is True
    [changed] = shown(api, reserved)
    assert [changed[name] for name in ("TotalInstanceCount", *list(changes)[1:])] == list(changes.values())
    other = create(api)["CapacityReservationId"]
    api.refused("MissingParameter", modify, CapacityReservationId=other)
    api.refused("MissingParameter", modify, CapacityReservationId=other, Accept=False)
    before = shown(api, other)
    assert modify(CapacityReservationId=other, Accept=True)["Return"] is True
    assert shown(api, other) == before
    assert api.ec2.cancel_capacity_reservation(CapacityReservationId=other)["Return"] is True
    assert shown(api, other)[0]["State"] == "cancelled"
    api.refused("InvalidCapacityReservationState", modify, CapacityReservationId=other, InstanceCount=3)
    cancel = api.ec2.cancel_capacity_reservation
    api.refused("InvalidCapacityReservationState", cancel, CapacityReservationId=other)
    api.run(clean_up, Settings(state_dir=tmp_path), LATER)
    assert shown(api, reserved)[0]["State"] == "expired"
    api.refused("InvalidCapacityReservationId.NotFound", cancel, CapacityReservationId=other)


def test_a_repeated_request_gets_the_same_one(api):
    first, again = (create(api, ClientToken="once") for _ in range(2))
    assert (first, len(shown(api))) == (again, 1)
    api.refused("IdempotentParameterMismatch", lambda: create(api, 2, ClientToken="once"))


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("Unsupported", {"InstanceType": "t2.micro", "EbsOptimized": True}),
        ("InvalidParameterValue", {"InstanceType": "t3.none"}),
        ("InvalidParameterValue", {"AvailabilityZone": "us-east-1z"}),
        ("InvalidParameterValue", {"InstanceCount": 0}),
        ("InvalidParameterValue", {"InstanceMatchCriteria": "closed"}),
        ("InvalidParameterValue", {"EndDate": LATER - timedelta(hours=3)}),
        ("InvalidParameterCombination", {"EndDateType": "limited"}),
        ("InvalidParameterCombination", {"AvailabilityZoneId": "use1-az1"}),
        ("InsufficientInstanceCapacity", {"InstanceCount": 1000, "InstanceType": "t3.medium"}),
        ("UnsupportedOperation", {"InstancePlatform": "Windows"}),
        ("UnsupportedOperation", {"Tenancy": "dedicated"}),
        ("UnsupportedOperation", {"EphemeralStorage": True}),
        ("UnsupportedOperation", {"OutpostArn": "arn:aws:x"}),
        ("UnsupportedOperation", {"PlacementGroupArn": "arn:aws:x"}),
        ("UnsupportedOperation", {"StartDate": LATER}),
        ("UnsupportedOperation", {"CommitmentDuration": 9}),
        ("UnsupportedOperation", {"DeliveryPreference": "fixed"}),
    ],
)
def test_bad_requests_reserve_nothing(api, code, given):
    api.refused(code, lambda: create(api, **given))


def test_policies_are_about_the_reservation_that_is_named(api):
    iam = api.client(api.world.one, "iam")
    mine = create(api, 2, InstanceMatchCriteria="targeted")
    other = create(api, InstanceMatchCriteria="targeted")["CapacityReservationId"]
    user = who_may(api, iam, "user", "ec2:*")("ec2")
    arn = mine["CapacityReservationArn"].replace(mine["CapacityReservationId"], other)
    deny = document("ec2:*", effect="Deny", resource=arn)
    iam.put_user_policy(UserName="user", PolicyName="deny", PolicyDocument=deny)
    launch(api, client=user, **target(mine["CapacityReservationId"]))
    api.refused("UnauthorizedOperation", lambda: launch(api, client=user, **target(other)))
    user.modify_capacity_reservation(CapacityReservationId=mine["CapacityReservationId"], InstanceCount=1)
    for call in (user.cancel_capacity_reservation, user.get_capacity_reservation_usage):
        api.refused("UnauthorizedOperation", call, CapacityReservationId=other)
