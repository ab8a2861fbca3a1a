"""Spot Instances through boto3: their launch, their requests, and their end for launches that find no room."""

from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select, update

from stead_controller.clock import now
from stead_controller.db.tables import Host, HostResource, Instance, NetworkInterface, Tag, Volume
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.v1 import desired_pb2 as pb
from tests.api.conftest import serving
from tests.api.test_authorization import User, launch_rights, refused, statement
from tests.support import rows

SPOT = {"MarketType": "spot"}
NO_ROOM = "InsufficientInstanceCapacity"


def run(api, *, client=None, **asked):
    asked = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro"} | asked
    return (client or api.ec2).run_instances(**asked)["Instances"]


def spot(api, **asked):
    return run(api, InstanceMarketOptions=SPOT, **asked)


def described(api, instance_id):
    [[found]] = [one["Instances"] for one in api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]]
    return found


def requested(api, request_id):
    [found] = api.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[request_id])["SpotInstanceRequests"]
    return found


def room_for(api, cpus):
    """The only host has so many free vCPUs, and memory in plenty."""
    api.run(lambda tx: tx.session.execute(update(Host).values(**rows.offered({"cpus_free": cpus}))))


def stop(api, instance_id):
    """An instance is stopped, and nothing else takes room of the only host."""
    values = {"state": "stopped", "capacity_held": False}
    api.run(lambda tx: tx.session.execute(update(Instance).where(Instance.id == instance_id).values(values)))
    for part in (Volume, NetworkInterface):
        api.run(lambda tx, part=part: tx.session.execute(update(part).values(attachment_state="attached")))
    api.run(lambda tx: tx.session.execute(update(Host).values(cpus_reserved=0, memory_reserved=0)))


def interrupted(api):
    """The instances that have notice of their end, and when that is."""
    query = select(Instance.id, Instance.interruption).where(Instance.interruption.is_not(None))
    return {row[0]: row[1] for row in api.run(lambda tx: tx.session.execute(query).all())}


def machine(api, instance_id):
    """The desired state of a machine, as its host has it."""
    query = select(HostResource.body).where(
        HostResource.kind == pb.KIND_MACHINE, HostResource.resource_id == instance_id
    )
    return pb.Resource.FromString(api.run(lambda tx: tx.session.scalar(query))).machine


def test_a_spot_instance_says_what_it_is(api):
    tags = [{"Key": "a", "Value": "b"}]
    [made] = spot(api, TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": tags}])
    [plain] = run(api)
    assert "InstanceLifecycle" not in plain
    assert "SpotInstanceRequestId" not in plain
    assert made["InstanceLifecycle"] == "spot"
    found = requested(api, made["SpotInstanceRequestId"])
    assert found == {
        "SpotInstanceRequestId": made["SpotInstanceRequestId"],
        "State": "active",
        "Status": {
            "Code": "fulfilled",
            "Message": "Your Spot request is fulfilled.",
            "UpdateTime": made["LaunchTime"],
        },
        "Type": "one-time",
        "InstanceId": made["InstanceId"],
        "InstanceInterruptionBehavior": "terminate",
        "CreateTime": made["LaunchTime"],
        "ProductDescription": "Linux/UNIX",
        "LaunchedAvailabilityZone": "us-east-1a",
        "LaunchedAvailabilityZoneId": made["Placement"]["AvailabilityZoneId"],
        "LaunchSpecification": {
            "ImageId": made["ImageId"],
            "InstanceType": "t3.micro",
            "EbsOptimized": False,
            "Monitoring": {"Enabled": False},
            "Placement": {"AvailabilityZone": "us-east-1a"},
            "SubnetId": made["SubnetId"],
        },
        "Tags": tags,
    }
    for name, value in {
        "instance-lifecycle": "spot",
        "spot-instance-request-id": made["SpotInstanceRequestId"],
    }.items():
        shown = api.ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])["Reservations"]
        assert [one["Instances"][0]["InstanceId"] for one in shown] == [made["InstanceId"]]
    behavior = api.ec2.describe_instance_attribute(
        InstanceId=made["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert behavior["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_each_of_a_launch_has_its_request(api):
    made = spot(api, MinCount=3, MaxCount=3)
    assert len({one["SpotInstanceRequestId"] for one in made}) == 3
    pages = api.ec2.get_paginator("describe_spot_instance_requests").paginate(PaginationConfig={"PageSize": 5})
    assert [len(page["SpotInstanceRequests"]) for page in pages] == [3]
    assert api.other.describe_spot_instance_requests()["SpotInstanceRequests"] == []


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("create-time", "*", "2020-01-01T00:00:00.000Z"),
        ("instance-id", "i-*", "i-1"),
        ("launch.block-device-mapping.delete-on-termination", "true", "false"),
        ("launch.block-device-mapping.device-name", "/dev/sda1", "/dev/sdf"),
        ("launch.block-device-mapping.snapshot-id", "snap-*", "snap-1"),
        ("launch.block-device-mapping.volume-size", "2", "9999"),
        ("launch.block-device-mapping.volume-type", "gp3", "st1"),
        ("launch.group-id", "sg-*", "sg-1"),
        ("launch.group-name", "default", "others"),
        ("launch.image-id", "ami-*", "ami-1"),
        ("launch.instance-type", "t3.micro", "t3.nano"),
        ("launch.key-name", "me", "you"),
        ("launch.monitoring-enabled", "false", "true"),
        ("launched-availability-zone", "us-east-1a", "us-east-1b"),
        ("launched-availability-zone-id", "use1-az1", "use1-az9"),
        ("network-interface.addresses.primary", "true", "false"),
        ("network-interface.delete-on-termination", "true", "false"),
        ("network-interface.description", "", "x"),
        ("network-interface.device-index", "0", "1"),
        ("network-interface.group-id", "sg-*", "sg-1"),
        ("network-interface.network-interface-id", "eni-*", "eni-1"),
        ("network-interface.private-ip-address", "172.31.*", "10.*"),
        ("network-interface.subnet-id", "subnet-*", "subnet-1"),
        ("product-description", "Linux/UNIX", "Windows"),
        ("spot-instance-request-id", "sir-*", "sir-1"),
        ("state", "active", "closed"),
        ("status-code", "fulfilled", "marked-for-termination"),
        ("status-message", "Your Spot request is fulfilled.", "x"),
        ("tag:a", "b", "c"),
        ("type", "one-time", "persistent"),
    ],
)
def test_filters(filtered, name, value, other):
    def found(wanted):
        asked = [{"Name": name, "Values": [wanted]}]
        return filtered.ec2.describe_spot_instance_requests(Filters=asked)["SpotInstanceRequests"]

    assert (len(found(value)), found(other)) == (1, [])


@pytest.fixture(scope="module")
def filtered(tmp_path_factory, api_database):
    with serving(tmp_path_factory.mktemp("spot"), *api_database) as api:
        api.ec2.create_key_pair(KeyName="me", KeyType="ed25519")
        tags = [{"Key": "a", "Value": "b"}]
        disks = [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 2, "VolumeType": "gp3"}}]
        spot(
            api,
            KeyName="me",
            BlockDeviceMappings=disks,
            TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": tags}],
        )
        yield api


@pytest.mark.parametrize("name", ["fault-code", "launch-group", "spot-price", "valid-until", "launch.kernel-id"])
def test_filters_of_what_no_request_has_find_none(filtered, name):
    asked = [{"Name": name, "Values": ["*"]}]
    assert filtered.ec2.describe_spot_instance_requests(Filters=asked)["SpotInstanceRequests"] == []


def test_a_cancelled_request_leaves_its_instance_running(api):
    [made] = spot(api)
    request = made["SpotInstanceRequestId"]
    answer = api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
    assert answer["CancelledSpotInstanceRequests"] == [{"SpotInstanceRequestId": request, "State": "cancelled"}]
    found = requested(api, request)
    assert (found["State"], found["Status"]["Code"]) == ("cancelled", "request-canceled-and-instance-running")
    assert described(api, made["InstanceId"])["State"]["Name"] == "pending"
    before = api.dump()["spot_requests"]
    api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
    assert api.dump()["spot_requests"] == before
    absent = "sir-00000000000000000"
    call = api.ec2.cancel_spot_instance_requests
    api.refused("InvalidSpotInstanceRequestID.NotFound", call, SpotInstanceRequestIds=[request, absent])
    api.refused("InvalidSpotInstanceRequestID.Malformed", call, SpotInstanceRequestIds=["sir-1"])
    call = api.other.cancel_spot_instance_requests
    api.refused("InvalidSpotInstanceRequestID.NotFound", call, SpotInstanceRequestIds=[request])


def test_a_terminated_instance_closes_its_request(api):
    [made] = spot(api)
    request = made["SpotInstanceRequestId"]
    api.ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    found = requested(api, request)
    assert (found["State"], found["Status"]["Code"]) == ("closed", "instance-terminated-by-user")
    answer = api.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
    assert answer["CancelledSpotInstanceRequests"] == [{"SpotInstanceRequestId": request, "State": "completed"}]
    assert requested(api, request)["State"] == "closed"


def test_a_request_is_forgotten_with_its_instance(api):
    tags = [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "a", "Value": "b"}]}]
    [made] = spot(api, TagSpecifications=tags)
    api.run(lambda tx: tx.session.execute(update(Instance).values(state="terminated")))
    api.run(clean_up, Settings(Path("/nowhere")), made["LaunchTime"] + timedelta(days=2))
    assert api.ec2.describe_spot_instance_requests()["SpotInstanceRequests"] == []
    assert api.run(lambda tx: list(tx.session.scalars(select(Tag.resource_id)))) == []


@pytest.mark.parametrize(
    ("code", "named", "market"),
    [
        ("InvalidParameterValue", "marketType", {"MarketType": "cheap"}),
        ("UnsupportedOperation", "MarketType", {"MarketType": "capacity-block"}),
        ("InvalidParameterCombination", "spotOptions", {"SpotOptions": {"SpotInstanceType": "one-time"}}),
        ("InvalidParameterCombination", "persistent", SPOT | {"SpotOptions": {"SpotInstanceType": "persistent"}}),
        ("InvalidParameterValue", "spotInstanceType", SPOT | {"SpotOptions": {"SpotInstanceType": "daily"}}),
        (
            "InvalidParameterCombination",
            "instanceInterruptionBehavior",
            SPOT | {"SpotOptions": {"InstanceInterruptionBehavior": "stop"}},
        ),
        (
            "InvalidParameterCombination",
            "instanceInterruptionBehavior",
            SPOT | {"SpotOptions": {"InstanceInterruptionBehavior": "hibernate"}},
        ),
        (
            "InvalidParameterValue",
            "instanceInterruptionBehavior",
            SPOT | {"SpotOptions": {"InstanceInterruptionBehavior": "sing"}},
        ),
        ("InvalidParameterCombination", "validUntil", SPOT | {"SpotOptions": {"ValidUntil": "2030-01-01T00:00:00Z"}}),
        ("SpotMaxPriceTooLow", "0.002240", SPOT | {"SpotOptions": {"MaxPrice": "0.002"}}),
        ("InvalidParameterValue", "cheap", SPOT | {"SpotOptions": {"MaxPrice": "cheap"}}),
        ("UnsupportedOperation", "BlockDurationMinutes", SPOT | {"SpotOptions": {"BlockDurationMinutes": 60}}),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(api, code, named, market):
    message = api.refused(code, lambda: run(api, InstanceMarketOptions=market))
    assert named in message


@pytest.mark.parametrize(
    "asked",
    [
        {"InstanceInitiatedShutdownBehavior": "stop"},
        {"DisableApiTermination": True},
        {"DisableApiStop": True},
        {"HibernationOptions": {"Configured": True}},
    ],
)
def test_what_no_spot_instance_can_have_is_refused(api, asked):
    message = api.refused("InvalidParameterCombination", lambda: spot(api, **asked))
    assert next(iter(asked)).lower() in message.lower()


def test_the_options_of_a_one_time_request_are_accepted(api):
    options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate", "MaxPrice": "0.00224"}
    [made] = run(
        api,
        InstanceMarketOptions=SPOT | {"SpotOptions": options},
        InstanceInitiatedShutdownBehavior="terminate",
    )
    assert made["InstanceLifecycle"] == "spot"


def test_a_spot_instance_is_not_stopped_nor_protected(api):
    [made] = spot(api)
    instance = made["InstanceId"]
    message = api.refused("UnsupportedOperation", api.ec2.stop_instances, InstanceIds=[instance])
    assert f"You can't stop the Spot Instance '{instance}'" in message
    modify = api.ec2.modify_instance_attribute
    for attribute in ("DisableApiTermination", "DisableApiStop"):
        api.refused("UnsupportedOperation", modify, InstanceId=instance, **{attribute: {"Value": True}})
        modify(InstanceId=instance, **{attribute: {"Value": False}})
    behavior = "InstanceInitiatedShutdownBehavior"
    api.refused("UnsupportedOperation", modify, InstanceId=instance, **{behavior: {"Value": "stop"}})
    modify(InstanceId=instance, **{behavior: {"Value": "terminate"}})


def test_a_template_may_ask_for_spot_instances(api):
    data = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "InstanceMarketOptions": SPOT}
    api.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
    [made] = api.ec2.run_instances(LaunchTemplate={"LaunchTemplateName": "web"}, MinCount=1, MaxCount=1)["Instances"]
    assert made["InstanceLifecycle"] == "spot"
    # And the data of a Spot Instance make a template of others.
    data = api.ec2.get_launch_template_data(InstanceId=made["InstanceId"])["LaunchTemplateData"]
    options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    assert data["InstanceMarketOptions"] == {"MarketType": "spot", "SpotOptions": options}
    for interface in data["NetworkInterfaces"]:
        del interface["PrivateIpAddresses"]  # which the first has still
    api.ec2.create_launch_template(LaunchTemplateName="like", LaunchTemplateData=data)
    [made] = api.ec2.run_instances(LaunchTemplate={"LaunchTemplateName": "like"}, MinCount=1, MaxCount=1)["Instances"]
    assert made["InstanceLifecycle"] == "spot"


def test_a_launch_without_room_interrupts_a_spot_instance(api):
    room_for(api, 4)
    older, newer = spot(api)[0], spot(api)[0]
    with pytest.raises(ClientError) as refusal:
        run(api)
    error = refusal.value.response["Error"]
    assert error["Code"] == NO_ROOM
    assert "try again in two minutes" in error["Message"]
    notice = interrupted(api)
    [instance] = notice
    assert instance in (older["InstanceId"], newer["InstanceId"])
    assert described(api, instance)["State"]["Name"] == "pending"
    request = described(api, instance)["SpotInstanceRequestId"]
    assert requested(api, request)["Status"]["Code"] == "marked-for-termination"

    # Another launch finds that room will come, and nobody else has to go.
    with pytest.raises(ClientError, match="try again in two minutes"):
        run(api)
    assert interrupted(api) == notice

    due = notice[instance]
    api.run(clean_up, Settings(Path("/nowhere")), due - timedelta(seconds=1))
    assert described(api, instance)["State"]["Name"] == "pending"
    api.run(clean_up, Settings(Path("/nowhere")), due, timedelta(seconds=30))  # the clock was set forward meanwhile
    assert described(api, instance)["State"]["Name"] == "pending"
    api.run(clean_up, Settings(Path("/nowhere")), due)
    found = described(api, instance)
    assert found["State"]["Name"] == "shutting-down"
    assert found["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    ended = requested(api, request)
    assert (ended["State"], ended["Status"]["Code"]) == ("closed", "instance-terminated-no-capacity")


def test_room_that_is_claimed_is_not_for_new_spot_instances(api):
    room_for(api, 4)
    spot(api, MinCount=2, MaxCount=2)
    with pytest.raises(ClientError, match="try again in two minutes"):
        run(api)
    room_for(api, 2)  # as when one has ended
    api.refused(NO_ROOM, lambda: spot(api))
    assert len(run(api)) == 1
    room_for(api, 2)
    api.run(lambda tx: tx.session.execute(update(Instance).values(interruption=now() - timedelta(minutes=3))))
    assert len(spot(api)) == 1


def test_the_notice_is_two_minutes_and_sent_to_the_host(api):
    room_for(api, 2)
    [made] = spot(api)
    instance = made["InstanceId"]
    shown = machine(api, instance).metadata
    assert (shown.spot, shown.interruption_time) == (True, 0)
    before = now()
    with pytest.raises(ClientError, match="try again in two minutes"):
        run(api)
    [end] = interrupted(api).values()
    assert before + timedelta(minutes=2) <= end + timedelta(seconds=1)  # times are stored in milliseconds
    assert end <= now() + timedelta(minutes=2)
    assert machine(api, instance).metadata.interruption_time == int(end.timestamp())


def test_a_launch_of_several_interrupts_as_many_as_it_lacks(api):
    room_for(api, 8)
    spot(api, MinCount=3, MaxCount=3)
    with pytest.raises(ClientError, match="try again in two minutes"):
        run(api, MinCount=3, MaxCount=3)
    assert len(interrupted(api)) == 2


def test_nobody_is_interrupted_in_vain(api):
    room_for(api, 4)
    spot(api, MinCount=2, MaxCount=2)
    for asked in (
        {"InstanceType": "m5.2xlarge"},  # which has 8 vCPUs: all that end would not be enough
        {"MinCount": 3, "MaxCount": 3},
        {"InstanceMarketOptions": SPOT, "SubnetId": api.world.one.subnet_ids[0]},
        {"SubnetId": api.world.one.subnet_ids[1]},  # where no host is
    ):
        assert "two minutes" not in api.refused(NO_ROOM, lambda asked=asked: run(api, **asked))
    api.refused(NO_ROOM, lambda: run(api, DryRun=True))
    assert interrupted(api) == {}
    # Others are launched as far as there is room.
    room_for(api, 2)
    assert len(run(api, MaxCount=2)) == 1
    assert interrupted(api) == {}


def test_a_launch_into_a_placement_group_interrupts_nobody(api):
    api.ec2.create_placement_group(GroupName="apart", Strategy="spread")
    room_for(api, 2)
    spot(api)
    in_group = {"InstanceType": "m5.large", "Placement": {"GroupName": "apart"}}
    assert "two minutes" not in api.refused(NO_ROOM, lambda: run(api, **in_group))
    assert interrupted(api) == {}
    room_for(api, 4)
    stopped = run(api, **in_group)[0]["InstanceId"]
    stop(api, stopped)
    room_for(api, 4)
    spot(api, MinCount=2, MaxCount=2)
    assert "two minutes" not in api.refused(NO_ROOM, api.ec2.start_instances, InstanceIds=[stopped])
    assert interrupted(api) == {}


def test_where_no_zone_has_room_that_of_spot_instances_is_taken(api):
    for zone in ("us-east-1b", "us-east-1a"):
        api.run(lambda tx, zone=zone: tx.session.execute(update(Host).values(zone=zone)))
        room_for(api, 2)
        [made] = spot(api)
        assert made["Placement"]["AvailabilityZone"] == zone
        with pytest.raises(ClientError, match="try again in two minutes"):
            run(api)
        assert set(interrupted(api)) == {made["InstanceId"]}
        api.run(lambda tx: tx.session.execute(update(Instance).values(interruption=None, capacity_held=False)))


def test_on_demand_instances_are_never_interrupted(api):
    room_for(api, 2)
    run(api)
    assert "two minutes" not in api.refused(NO_ROOM, lambda: run(api))


def test_a_start_interrupts_as_a_launch_does(api):
    room_for(api, 4)
    stopped = run(api)[0]["InstanceId"]
    stop(api, stopped)
    spot(api, MinCount=2, MaxCount=2)
    with pytest.raises(ClientError, match="try again in two minutes"):
        api.ec2.start_instances(InstanceIds=[stopped])
    assert len(interrupted(api)) == 1


def test_a_spot_instance_needs_a_right_on_its_request(api):
    user = User(api)
    ec2 = user.client()
    instance, request = (f"arn:aws:ec2:us-east-1:*:{kind}/*" for kind in ("instance", "spot-instances-request"))
    market = {"InstanceMarketOptions": SPOT}
    of_market = {"ec2:InstanceMarketType": "spot"}
    user.may(*launch_rights(statement("ec2:RunInstances", instance, StringEquals=of_market)))
    assert ":instance/*" in refused(lambda: run(api, client=ec2))
    assert ":spot-instances-request/*" in refused(lambda: run(api, client=ec2, **market))
    user.may(*launch_rights(statement("ec2:RunInstances", [instance, request])))
    [made] = run(api, client=ec2, **market)
    cancel = ec2.cancel_spot_instance_requests
    request_id = made["SpotInstanceRequestId"]
    assert request_id in refused(lambda: cancel(SpotInstanceRequestIds=[request_id]))
    owned = {"aws:ResourceTag/Owner": "me"}
    user.may(statement("ec2:CancelSpotInstanceRequests", request, StringEquals=owned))
    assert request_id in refused(lambda: cancel(SpotInstanceRequestIds=[request_id]))
    api.ec2.create_tags(Resources=[request_id], Tags=[{"Key": "Owner", "Value": "me"}])
    terminate = ec2.terminate_instances
    user.may(
        statement("ec2:CancelSpotInstanceRequests", request, StringEquals=owned),
        statement("ec2:TerminateInstances", StringEquals=of_market),
    )
    assert cancel(SpotInstanceRequestIds=[request_id])["CancelledSpotInstanceRequests"]
    refused(lambda: terminate(InstanceIds=[run(api)[0]["InstanceId"]]))
    assert terminate(InstanceIds=[made["InstanceId"]])["TerminatingInstances"]
