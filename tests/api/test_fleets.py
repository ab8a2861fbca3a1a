"""Fleets of type instant through boto3: what is launched, in which order, what is said of the rest, and their end."""

import json
from datetime import timedelta
from unittest.mock import patch

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Fleet, HostResource, Instance, Reservation, Revision
from stead_controller.resources.instances import launch_interfaces
from tests.api.conftest import SECRET
from tests.api.test_authorization import User, refused, statement
from tests.api.test_launch_by_template import arn, further_subnet, make, system_tags, tags_of
from tests.support import rows
from tests.support.clients import Account

ABSENT = "fleet-00000000000000000"
DENIED = "UnauthorizedOperation"
NO_ROOM = "InsufficientInstanceCapacity"


REQUIRED = {"VCpuCount": {"Min": 4}, "MemoryMiB": {"Min": 8192}, "ExcludedInstanceTypes": ["c5*", "c6*"]}


def asked(*overrides, target=1, template="web", **given):
    """A request for instances on demand."""
    specification = {"LaunchTemplateName": template, "Version": "$Latest"}
    configs = [{"LaunchTemplateSpecification": specification, "Overrides": list(overrides)}]
    capacity = {"TotalTargetCapacity": target, "DefaultTargetCapacityType": "on-demand"}
    return {"Type": "instant", "LaunchTemplateConfigs": configs, "TargetCapacitySpecification": capacity} | given


def launched(answer):
    """How many instances there are of each type."""
    return {one["InstanceType"]: len(one["InstanceIds"]) for one in answer["Instances"]}


def failed(answer):
    """The code for each override that failed, by its type."""
    of = [
        (one["LaunchTemplateAndOverrides"]["Overrides"].get("InstanceType"), one["ErrorCode"])
        for one in answer["Errors"]
    ]
    return dict(of)


def described(api, fleet_id):
    [found] = api.ec2.describe_fleets(FleetIds=[fleet_id])["Fleets"]
    return found


def test_a_fleet_of_the_cheapest_type(api):
    template = make(api)
    subnet = further_subnet(api)
    tags = [{"Key": "a", "Value": "b"}]
    answer = api.ec2.create_fleet(
        **asked({"InstanceType": "m5.large"}, {"InstanceType": "t3.nano", "SubnetId": subnet}, target=3),
        TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("fleet", "instance", "volume")],
    )
    assert answer["Errors"] == []
    [group] = answer["Instances"]
    pool = {
        "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
        "Overrides": {"InstanceType": "t3.nano", "SubnetId": subnet},
    }
    assert group == {
        "LaunchTemplateAndOverrides": pool,
        "Lifecycle": "on-demand",
        "InstanceIds": group["InstanceIds"],
        "InstanceType": "t3.nano",
        "AvailabilityZone": "us-east-1a",
        "SubnetId": subnet,
    }
    assert len(group["InstanceIds"]) == 3
    fleet = answer["FleetId"]
    found = api.ec2.describe_instances(InstanceIds=group["InstanceIds"])["Reservations"]
    assert {one["SubnetId"] for each in found for one in each["Instances"]} == {subnet}
    for instance in group["InstanceIds"]:
        assert tags_of(api, instance) == {"a": "b", "aws:ec2:fleet-id": fleet} | system_tags(template, 1)
    volumes = api.ec2.describe_volumes()["Volumes"]
    assert [one["Tags"] for one in volumes] == [tags] * 3
    shown = described(api, fleet)
    assert shown == {
        "FleetId": fleet,
        "FleetState": "active",
        "ActivityStatus": "fulfilled",
        "CreateTime": shown["CreateTime"],
        "ClientToken": shown["ClientToken"],
        "Type": "instant",
        "FulfilledCapacity": 3.0,
        "FulfilledOnDemandCapacity": 3.0,
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": 3,
            "OnDemandTargetCapacity": 3,
            "SpotTargetCapacity": 0,
            "DefaultTargetCapacityType": "on-demand",
        },
        "OnDemandOptions": {"AllocationStrategy": "lowest-price"},
        "TerminateInstancesWithExpiration": False,
        "ReplaceUnhealthyInstances": False,
        "LaunchTemplateConfigs": [
            {**pool, "Overrides": [{"InstanceType": "m5.large"}]},
            {**pool, "Overrides": [pool["Overrides"]]},
        ],
        "Errors": [],
        "Instances": [{name: group[name] for name in group if name not in ("AvailabilityZone", "SubnetId")}],
        "Tags": tags,
    }


def test_which_type_is_first(api):
    make(api)
    types = [{"InstanceType": "t3.micro"}, {"InstanceType": "m5.large"}, {"InstanceType": "t3.nano"}]
    ranked = [one | {"Priority": number} for one, number in zip(types, (2, 1, 3), strict=True)]
    options = {"OnDemandOptions": {"AllocationStrategy": "prioritized"}}
    assert launched(api.ec2.create_fleet(**asked(*types))) == {"t3.nano": 1}
    assert launched(api.ec2.create_fleet(**asked(*ranked))) == {"t3.nano": 1}
    assert launched(api.ec2.create_fleet(**asked(*ranked, **options))) == {"m5.large": 1}
    last = [types[2], ranked[0]]
    assert launched(api.ec2.create_fleet(**asked(*last, **options))) == {"t3.micro": 1}
    heavy = [{"InstanceType": "t3.nano", "WeightedCapacity": 1}, {"InstanceType": "t3.micro", "WeightedCapacity": 2}]
    assert launched(api.ec2.create_fleet(**asked(*heavy, target=4))) == {"t3.micro": 2}
    # A template alone is a pool, too.
    assert launched(api.ec2.create_fleet(**asked())) == {"t3.nano": 1}


def test_weights_count_what_an_instance_gives(api):
    make(api)
    answer = api.ec2.create_fleet(**asked({"InstanceType": "t3.nano", "WeightedCapacity": 3}, target=7))
    assert launched(answer) == {"t3.nano": 3}
    assert described(api, answer["FleetId"])["FulfilledCapacity"] == 9.0


def test_what_has_no_room_is_an_error_and_the_next_pool_is_used(api):
    make(api)
    elsewhere = api.world.one.subnet_ids[1]  # where no host is
    before = {name: len(found) for name, found in api.dump().items()}
    answer = api.ec2.create_fleet(
        **asked(
            {"InstanceType": "t3.nano", "SubnetId": elsewhere},
            {"InstanceType": "x9.huge"},
            {"InstanceType": "t3.micro"},
            {"InstanceType": "t3.small", "SubnetId": "subnet-" + "0" * 17},
            target=2,
        )
    )
    assert launched(answer) == {"t3.micro": 2}
    assert failed(answer) == {
        "t3.nano": NO_ROOM,
        "x9.huge": "InvalidParameterValue",
        "t3.small": "InvalidSubnetID.NotFound",
    }
    assert all(one["ErrorMessage"] and one["Lifecycle"] == "on-demand" for one in answer["Errors"])
    assert described(api, answer["FleetId"])["Errors"] == answer["Errors"]
    after = {name: len(found) for name, found in api.dump().items()}
    assert after["instances"] - before["instances"] == 2
    assert after["reservations"] - before["reservations"] == 1


def test_as_much_as_there_is_room_for(api):
    """The host of this world has 64 vCPUs."""
    make(api)
    events = []
    api.database.on_commit(lambda tx: events.append(set(tx.events)) if tx.events else None)
    answer = api.ec2.create_fleet(**asked({"InstanceType": "t3.nano"}, {"InstanceType": "t3.micro"}, target=40))
    assert events == [set(answer["Instances"][0]["InstanceIds"])]
    assert launched(answer) == {"t3.nano": 32}
    assert failed(answer) == {"t3.nano": NO_ROOM, "t3.micro": NO_ROOM}
    found = described(api, answer["FleetId"])
    assert (found["ActivityStatus"], found["FulfilledCapacity"]) == ("error", 32.0)


def spot_asked(*overrides, on_demand=0, spot=1, **given):
    """A request for Spot Instances, and for some on demand."""
    capacity = {"TotalTargetCapacity": on_demand + spot, "OnDemandTargetCapacity": on_demand}
    return asked(*overrides) | {"TargetCapacitySpecification": capacity} | given


def test_a_spot_instance_costs_no_more_than_its_override_says(api):
    make(api)
    dear, cheap = {"InstanceType": "t3.micro", "MaxPrice": "0.002"}, {"InstanceType": "m5.large", "MaxPrice": "9"}
    answer = api.ec2.create_fleet(**spot_asked(dear, cheap, on_demand=1))
    assert [(one["InstanceType"], one["Lifecycle"]) for one in answer["Instances"]] == [
        ("t3.micro", "on-demand"),
        ("m5.large", "spot"),
    ]
    assert failed(answer) == {"t3.micro": "SpotMaxPriceTooLow"}
    shown = described(api, answer["FleetId"])["LaunchTemplateConfigs"]
    assert [config["Overrides"][0]["MaxPrice"] for config in shown] == ["0.002", "9"]


def test_a_minimum_or_nothing(api):
    make(api)
    pools = [{"InstanceType": "t3.nano"}, {"InstanceType": "t3.micro"}]
    before = api.dump()

    def create(**options):
        return api.ec2.create_fleet(**asked(*pools, target=40), OnDemandOptions=options)

    answer = create(SingleInstanceType=True, MinTargetCapacity=33)
    assert answer["Instances"] == []
    assert failed(answer) == {"t3.nano": NO_ROOM, "t3.micro": NO_ROOM}
    after = api.dump()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"client_tokens", "fleets"}
    enough = create(SingleInstanceType=True, MinTargetCapacity=32)
    assert launched(enough) == {"t3.nano": 32}


def test_of_one_type_or_in_one_zone(api):
    make(api)
    api.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b", cpus=8, cpus_free=8)))
    events = []
    api.database.on_commit(lambda tx: events.append(set(tx.events)) if tx.events else None)
    one, two = api.world.one.subnet_ids[:2]
    pools = [
        {"InstanceType": "t3.nano", "SubnetId": two},
        {"InstanceType": "t3.micro", "SubnetId": two},
        {"InstanceType": "t3.small", "SubnetId": one},
    ]
    # Alone: four of the first fit, then the third.
    request = asked(*pools, target=6)
    both = api.ec2.create_fleet(**request)
    assert launched(both) == {"t3.nano": 4, "t3.small": 2}
    api.ec2.delete_fleets(FleetIds=[both["FleetId"]], TerminateInstances=True)
    api.run(release)
    single = api.ec2.create_fleet(**request, OnDemandOptions={"SingleInstanceType": True})
    assert launched(single) == {"t3.small": 6}
    api.ec2.delete_fleets(FleetIds=[single["FleetId"]], TerminateInstances=True)
    api.run(release)
    zone = api.ec2.create_fleet(**request, OnDemandOptions={"SingleAvailabilityZone": True})
    assert launched(zone) == {"t3.small": 6}
    api.ec2.delete_fleets(FleetIds=[zone["FleetId"]], TerminateInstances=True)
    api.run(release)
    # None reaches the target: the nearest is what there is.
    nearest = api.ec2.create_fleet(
        **asked(pools[0], {"InstanceType": "m5.large", "SubnetId": two}, target=6),
        OnDemandOptions={"SingleInstanceType": True},
    )
    assert launched(nearest) == {"t3.nano": 4}
    there = {instance for one in nearest["Instances"] for instance in one["InstanceIds"]}
    assert events[-1] == there  # no event reports what was rolled back
    assert max(api.run(revisions)) == api.run(lambda tx: tx.session.get_one(Revision, 1).value)


def revisions(tx):
    """The revisions of what hosts are sent."""
    return tx.session.scalars(select(HostResource.revision)).all()


def release(tx):
    """Give back the room of all instances, as when their hosts report that they are gone."""
    for instance in tx.session.query(Instance).filter(Instance.state != "terminated"):
        instance.state = "terminated"
    for host in tx.session.query(rows.Host):
        host.cpus_reserved = host.memory_reserved = 0


def test_an_override_names_its_placement_group_by_either_name(api):
    groups = {
        name: api.ec2.create_placement_group(GroupName=name, Strategy="cluster")["PlacementGroup"]["GroupId"]
        for name in ("mine", "yours")
    }
    make(api, InstanceType="m5.large", Placement={"GroupName": "mine"})
    for named, expected in ({"GroupName": "yours"}, "yours"), ({"GroupId": groups["yours"]}, "yours"), ({}, "mine"):
        answer = api.ec2.create_fleet(**asked({"AvailabilityZone": "us-east-1a", "Placement": named}))
        assert answer["Errors"] == []
        [launch] = answer["Instances"]
        [found] = api.ec2.describe_instances(InstanceIds=launch["InstanceIds"])["Reservations"][0]["Instances"]
        assert found["Placement"]["GroupName"] == expected


def test_an_override_changes_devices_of_the_template_and_adds_others(api):
    """By their names; and of a device only what it says."""
    disks = [
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "VolumeType": "gp3", "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 3}},
        {"DeviceName": "/dev/sdh", "Ebs": {"VolumeSize": 4}},
    ]
    make(api, BlockDeviceMappings=disks)
    changes = [
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5}},
        {"DeviceName": "/dev/sdg", "NoDevice": ""},
        {"DeviceName": "/dev/sdi", "Ebs": {"VolumeSize": 6}},
    ]
    answer = api.ec2.create_fleet(**asked({"BlockDeviceMappings": changes}))
    [[instance_id]] = [one["InstanceIds"] for one in answer["Instances"]]
    attached = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    found = {one["Attachments"][0]["Device"]: one for one in api.ec2.describe_volumes(Filters=attached)["Volumes"]}
    assert {name: one["Size"] for name, one in found.items() if name != "/dev/sda1"} == {
        "/dev/sdf": 5,
        "/dev/sdh": 4,
        "/dev/sdi": 6,
    }
    [changed] = found["/dev/sdf"]["Attachments"]
    assert (found["/dev/sdf"]["VolumeType"], changed["DeleteOnTermination"]) == ("gp3", False)


def test_what_an_override_replaces(api):
    api.ec2.create_key_pair(KeyName="me", KeyType="ed25519")
    subnet = further_subnet(api)
    interfaces = [{"DeviceIndex": 0, "SubnetId": api.world.one.subnet_ids[0], "Description": "of the template"}]
    make(api, NetworkInterfaces=interfaces, MetadataOptions={"HttpTokens": "optional"})
    override = {
        "SubnetId": subnet,
        "KeyName": "me",
        "ImageId": api.world.image_id,
        "MetadataOptions": {"HttpTokens": "required"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}],
        "AvailabilityZone": "us-east-1a",
    }
    request = asked(override)
    request["LaunchTemplateConfigs"][0]["LaunchTemplateSpecification"]["LaunchTemplateSpecificationUserData"] = "eA=="
    answer = api.ec2.create_fleet(**request)
    [[instance]] = [
        one["Instances"]
        for one in api.ec2.describe_instances(InstanceIds=answer["Instances"][0]["InstanceIds"])["Reservations"]
    ]
    assert (instance["SubnetId"], instance["KeyName"]) == (subnet, "me")
    assert instance["NetworkInterfaces"][0]["Description"] == "of the template"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert [one["DeviceName"] for one in instance["BlockDeviceMappings"]] == ["/dev/sda1", "/dev/sdf"]
    data = api.ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
    assert data["UserData"]["Value"] == "eA=="
    wrong = api.ec2.create_fleet(**asked({"AvailabilityZone": "us-east-1b", "SubnetId": subnet}))
    assert (wrong["Instances"], [one["ErrorCode"] for one in wrong["Errors"]]) == ([], ["InvalidParameterValue"])


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("UnsupportedOperation", {"Type": "maintain"}),
        ("UnsupportedOperation", {"Type": "request"}),
        ("UnsupportedOperation", {"Type": None}),
        (
            "InvalidParameterCombination",
            {"TargetCapacitySpecification": {"TotalTargetCapacity": 2, "OnDemandTargetCapacity": 3}},
        ),
        (
            "InvalidParameterValue",
            {"TargetCapacitySpecification": {"TotalTargetCapacity": 0, "DefaultTargetCapacityType": "on-demand"}},
        ),
        ("ResourceCountExceeded", {"TargetCapacitySpecification": {"TotalTargetCapacity": 10_001}}),
        (
            "UnsupportedOperation",
            {
                "TargetCapacitySpecification": {
                    "TotalTargetCapacity": 2,
                    "DefaultTargetCapacityType": "on-demand",
                    "TargetCapacityUnitType": "vcpu",
                }
            },
        ),
        (
            "InvalidParameterValue",
            {"TargetCapacitySpecification": {"TotalTargetCapacity": 2, "TargetCapacityUnitType": "bushels"}},
        ),
        (
            "InvalidParameterValue",
            {"TargetCapacitySpecification": {"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "borrowed"}},
        ),
        ("UnsupportedOperation", {"SpotOptions": {"AllocationStrategy": "diversified"}}),
        ("InvalidParameterValue", {"SpotOptions": {"AllocationStrategy": "prioritized"}}),
        ("UnsupportedOperation", {"SpotOptions": {"InstancePoolsToUseCount": 2}}),
        ("UnsupportedOperation", {"SpotOptions": {"MaxTotalPrice": "1"}}),
        (
            "UnsupportedOperation",
            {"SpotOptions": {"MaintenanceStrategies": {"CapacityRebalance": {"ReplacementStrategy": "launch"}}}},
        ),
        ("InvalidParameterCombination", {"SpotOptions": {"InstanceInterruptionBehavior": "stop"}}),
        ("InvalidParameterValue", {"SpotOptions": {"MinTargetCapacity": 1, "SingleInstanceType": True}}),
        (
            "InvalidParameterValue",
            {"TargetCapacitySpecification": {"TotalTargetCapacity": 2, "SpotTargetCapacity": -1}},
        ),
        ("UnsupportedOperation", {"OnDemandOptions": {"MaxTotalPrice": "1"}}),
        ("InvalidParameterValue", {"OnDemandOptions": {"AllocationStrategy": "dearest"}}),
        ("InvalidParameterValue", {"ExcessCapacityTerminationPolicy": "perhaps"}),
        ("InvalidParameterCombination", {"OnDemandOptions": {"MinTargetCapacity": 1}}),
        ("InvalidParameterValue", {"OnDemandOptions": {"MinTargetCapacity": 2, "SingleInstanceType": True}}),
        ("UnsupportedOperation", {"ValidUntil": rows.NOW}),
        ("InvalidParameterValue", {"Type": "constant"}),
        ("UnsupportedOperation", {"TerminateInstancesWithExpiration": True}),
        ("UnsupportedOperation", {"ReplaceUnhealthyInstances": True}),
        ("InvalidParameterValue", {"TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "a"}]}]}),
    ],
)
def test_bad_requests_change_nothing(api, code, change):
    make(api)
    api.refused("DryRunOperation", api.ec2.create_fleet, **asked(target=10_000, DryRun=True))
    request = {name: value for name, value in (asked() | change).items() if value is not None}
    api.refused(code, api.ec2.create_fleet, **request)


@pytest.mark.parametrize(
    ("code", "override"),
    [
        ("UnsupportedOperation", {"MaxPrice": "1"}),
        ("InvalidParameterCombination", {"InstanceRequirements": REQUIRED, "InstanceType": "t3.nano"}),
        ("InvalidParameterValue", {"InstanceRequirements": REQUIRED | {"BareMetal": "perhaps"}}),
        (
            "UnsupportedOperation",
            {"InstanceRequirements": REQUIRED | {"OnDemandMaxPricePercentageOverLowestPrice": 20}},
        ),
        ("UnsupportedOperation", {"Placement": {"Tenancy": "dedicated"}}),
        ("InvalidParameterValue", {"Priority": -1.0}),
        ("InvalidParameterValue", {"WeightedCapacity": 0.0}),
        ("InvalidParameterValue", {"WeightedCapacity": 1000.0}),
        ("InvalidParameterValue", {"SubnetId": "subnet-1,subnet-2"}),
    ],
)
def test_bad_overrides_change_nothing(api, code, override):
    make(api)
    api.refused(code, api.ec2.create_fleet, **asked(override))


@pytest.mark.parametrize(
    ("code", "specification"),
    [
        ("InvalidLaunchTemplateName.NotFoundException", {"LaunchTemplateName": "none", "Version": "1"}),
        ("InvalidLaunchTemplateId.VersionNotFound", {"LaunchTemplateName": "web", "Version": "2"}),
        ("MissingParameter", {"LaunchTemplateName": "web"}),
        ("MissingParameter", {"Version": "1"}),
    ],
)
def test_bad_templates_change_nothing(api, code, specification):
    make(api)
    configs = [{"LaunchTemplateSpecification": specification}]
    api.refused(code, api.ec2.create_fleet, **asked(LaunchTemplateConfigs=configs))


def test_instant_fleets_are_shown_by_their_ids_only(api):
    make(api)
    made = [api.ec2.create_fleet(**asked())["FleetId"] for _ in range(2)]
    assert api.ec2.describe_fleets()["Fleets"] == []
    call = api.ec2.describe_fleets

    def found(**given):
        filters = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in given.items()]
        return sorted(one["FleetId"] for one in call(FleetIds=made, Filters=filters)["Fleets"])

    assert found() == sorted(made)
    assert found(type="instant", fleet_state="active", activity_status="fulfilled") == sorted(made)
    assert found(replace_unhealthy_instances="false") == sorted(made)
    assert found(type="maintain") == found(fleet_state="deleted") == found(activity_status="error") == []
    assert found(excess_capacity_termination_policy="termination") == []
    policy = api.ec2.create_fleet(**asked(ExcessCapacityTerminationPolicy="termination"))["FleetId"]
    filters = [{"Name": "excess-capacity-termination-policy", "Values": ["termination"]}]
    assert len(call(FleetIds=[policy, *made], Filters=filters)["Fleets"]) == 1
    api.refused("InvalidFleetId.NotFound", call, FleetIds=[*made, ABSENT])
    api.refused("InvalidFleetId.Malformed", call, FleetIds=["fleet-1"])
    api.refused("InvalidFleetId.NotFound", api.other.describe_fleets, FleetIds=made)
    message = api.refused("UnsupportedOperation", api.ec2.describe_fleet_instances, FleetId=made[0])
    assert "DescribeFleets" in message
    api.refused("InvalidFleetId.NotFound", api.ec2.describe_fleet_instances, FleetId=ABSENT)


def test_a_deleted_fleet_ends_its_instances(api):
    make(api)
    answer = api.ec2.create_fleet(**asked(target=2))
    fleet, [group] = answer["FleetId"], answer["Instances"]
    protected = api.ec2.create_fleet(**asked())
    [instance] = protected["Instances"][0]["InstanceIds"]
    api.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": True})
    call = api.ec2.delete_fleets
    api.refused("NoTerminateInstancesNotSupported", call, FleetIds=[fleet], TerminateInstances=False)
    api.refused("InvalidParameterValue", call, FleetIds=[fleet] * 26, TerminateInstances=True)
    gone = call(FleetIds=[fleet, ABSENT, "fleet-1", protected["FleetId"]], TerminateInstances=True)
    assert gone["SuccessfulFleetDeletions"] == [
        {"FleetId": fleet, "PreviousFleetState": "active", "CurrentFleetState": "deleted_terminating"}
    ]
    errors = [(one["FleetId"], one["Error"]["Code"]) for one in gone["UnsuccessfulFleetDeletions"]]
    assert errors == [
        (ABSENT, "fleetIdDoesNotExist"),
        ("fleet-1", "fleetIdMalformed"),
        (protected["FleetId"], "unexpectedError"),
    ]
    assert described(api, protected["FleetId"])["FleetState"] == "active"
    assert described(api, fleet)["FleetState"] == "deleted_terminating"
    found = api.ec2.describe_instances(InstanceIds=group["InstanceIds"])["Reservations"]
    assert {one["State"]["Name"] for each in found for one in each["Instances"]} == {"shutting-down"}
    [again] = call(FleetIds=[fleet], TerminateInstances=True)["UnsuccessfulFleetDeletions"]
    assert again["Error"]["Code"] == "fleetNotInDeletableState"
    api.run(release)
    assert described(api, fleet)["FleetState"] == "deleted"

    def age(tx):
        tx.session.get_one(Fleet, fleet).deleted -= timedelta(hours=48)

    api.ec2.create_tags(Resources=[fleet], Tags=[{"Key": "a", "Value": "b"}])
    api.run(age)
    api.ec2.create_fleet(**asked())
    api.refused("InvalidFleetId.NotFound", api.ec2.describe_fleets, FleetIds=[fleet])
    assert tags_of(api, fleet) == {}


def test_a_repeated_request_launches_nothing_more(api):
    make(api)
    request = asked({"InstanceType": "t3.nano"}, {"InstanceType": "x9.huge"}, ClientToken="t")
    first = api.ec2.create_fleet(**request)
    again = api.ec2.create_fleet(**request)
    assert {name: again[name] for name in ("FleetId", "Errors", "Instances")} == {
        name: first[name] for name in ("FleetId", "Errors", "Instances")
    }
    other = asked({"InstanceType": "t3.nano"}, ClientToken="t", target=2)
    api.refused("IdempotentParameterMismatch", api.ec2.create_fleet, **other)
    api.refused("DryRunOperation", api.ec2.create_fleet, **asked(DryRun=True))
    assert api.run(lambda tx: tx.session.query(Reservation).count()) == 1


def test_who_may(api):
    user = User(api)
    template = make(api)
    client = user.client()
    of_template, image = arn(api, "launch-template", template), f"arn:aws:ec2:us-east-1::image/{api.world.image_id}"
    request = asked({"InstanceType": "t3.nano"}, {"InstanceType": "t3.micro"})
    user.may(statement("ec2:CreateFleet"))
    none = client.create_fleet(**request)
    assert (none["Instances"], failed(none)) == ([], {"t3.nano": DENIED, "t3.micro": DENIED})
    assert "ec2:RunInstances" in none["Errors"][0]["ErrorMessage"]
    assert "ec2:RunInstances" in refused(client.create_fleet, **request, DryRun=True)
    user.may(statement("ec2:RunInstances"))
    assert "ec2:CreateFleet" in refused(client.create_fleet, **request)
    user.may(statement(["ec2:CreateFleet", "ec2:RunInstances"]))
    fleet = client.create_fleet(**request)["FleetId"]
    both = statement(["ec2:CreateFleet", "ec2:RunInstances"])
    user.may(both, statement("ec2:CreateFleet", of_template, effect="Deny"))
    refused(client.create_fleet, **request)
    user.may(both, statement("ec2:RunInstances", image, effect="Deny"))
    assert failed(client.create_fleet(**request)) == {"t3.nano": DENIED, "t3.micro": DENIED}
    user.may(both, statement("ec2:RunInstances", effect="Deny", StringEquals={"ec2:InstanceType": "t3.nano"}))
    some = client.create_fleet(**request)
    assert (launched(some), failed(some)) == ({"t3.micro": 1}, {"t3.nano": DENIED})
    user.may(both, statement("ec2:RunInstances", effect="Deny", StringEquals={"ec2:InstanceMarketType": "spot"}))
    mixed = client.create_fleet(**spot_asked({"InstanceType": "t3.nano"}, on_demand=1))
    assert launched(mixed) == {"t3.nano": 1}
    assert [(one["Lifecycle"], one["ErrorCode"]) for one in mixed["Errors"]] == [("spot", DENIED)]
    tags = [{"ResourceType": "fleet", "Tags": [{"Key": "a", "Value": "b"}]}]
    user.may(statement(["ec2:CreateFleet", "ec2:RunInstances"]))
    assert "ec2:CreateTags" in refused(client.create_fleet, **request, TagSpecifications=tags)
    refused(client.describe_fleets, FleetIds=[fleet])
    user.may(statement("ec2:DeleteFleets", arn(api, "fleet", ABSENT)))
    refused(client.delete_fleets, FleetIds=[fleet], TerminateInstances=True)
    user.may(statement("ec2:DeleteFleets", arn(api, "fleet", fleet)))
    client.delete_fleets(FleetIds=[fleet], TerminateInstances=True)


def test_what_a_pool_uses_is_chosen_once(api):
    """To decide whether a user may, and for the launch itself; root is not asked, and its launch chooses."""
    make(api)
    user = User(api)
    user.may(statement("ec2:*"))
    pools = asked({"InstanceType": "t3.nano"}, {"InstanceType": "t3.micro"})
    with patch.object(launch_interfaces, "plan", wraps=launch_interfaces.plan) as plan:
        for client, times in ((user.client(), 2), (api.ec2, 4)):
            assert launched(client.create_fleet(**pools)) == {"t3.nano": 1}
            assert plan.call_count == times


def test_the_aws_command_launches_by_template_alias_and_fleet(api):
    caller = api.world.one.caller
    aws = Account(caller.account_id, caller.access_key_id, SECRET, f"http://127.0.0.1:{api.port}").aws
    alias = "/stead/image/name/micro-1"
    image = aws("ssm", "get-parameter", "--name", alias, "--query", "Parameter.Value")
    data = json.dumps({"ImageId": f"resolve:ssm:{alias}", "InstanceType": "t3.nano"})
    made = aws("ec2", "create-launch-template", "--launch-template-name", "cli", "--launch-template-data", data)
    template = made["LaunchTemplate"]["LaunchTemplateId"]
    shown = aws("ec2", "describe-launch-template-versions", "--launch-template-id", template, "--resolve-alias")
    assert shown["LaunchTemplateVersions"][0]["LaunchTemplateData"]["ImageId"] == image
    by_name = "LaunchTemplateName=cli,Version=$Latest"
    [instance] = aws("ec2", "run-instances", "--launch-template", by_name, "--instance-type", "t3.micro")["Instances"]
    assert (instance["ImageId"], instance["InstanceType"]) == (image, "t3.micro")
    configs = json.dumps(asked({"InstanceType": "t3.nano"}, template="cli")["LaunchTemplateConfigs"])
    capacity = "TotalTargetCapacity=2,DefaultTargetCapacityType=on-demand"
    words = ("--type", "instant", "--launch-template-configs", configs, "--target-capacity-specification", capacity)
    fleet = aws("ec2", "create-fleet", *words)
    assert (launched(fleet), fleet["Errors"]) == ({"t3.nano": 2}, [])
    gone = aws("ec2", "delete-fleets", "--fleet-ids", fleet["FleetId"], "--terminate-instances")
    assert gone["SuccessfulFleetDeletions"][0]["CurrentFleetState"] == "deleted_terminating"
    assert aws("ec2", "delete-launch-template", "--launch-template-name", "cli")["LaunchTemplate"]
