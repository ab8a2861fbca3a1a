"""Dedicated Hosts and Instances through boto3: made, shown, filtered, used by launches, changed, released."""

import json
import os
from dataclasses import replace
from datetime import timedelta

import pytest

from stead_controller.clock import now
from stead_controller.db.tables import HostResource, Instance
from stead_controller.request import instance_types
from stead_controller.resources.instances.offered_types import facts
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.v1 import desired_pb2 as pb
from tests.api.conftest import SECRET
from tests.api.identity import document, who_may
from tests.support import aws_command, rows
from tests.support.rows import GIB

TYPE = "stead.tiny"
NOBODY = "h-" + "0" * 17


@pytest.fixture(autouse=True)
def small(api):
    """A smaller host beside that of the world, with eight cores."""
    api.run(lambda tx: tx.session.add(rows.host(memory_free=4 * GIB, cpus_free=16, cpus=16, cores=8)))


def allocate(api, client=None, **given):
    values = {"InstanceType": TYPE, "Quantity": 1, "AvailabilityZone": "us-east-1a"}
    return (client or api.ec2).allocate_hosts(**values | given)["HostIds"]


def shown(api, *ids, **filters):
    asked = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    return api.ec2.describe_hosts(HostIds=ids, Filter=asked)["Hosts"]


def launch(api, client=None, **placement):
    values = {"ImageId": api.world.image_id, "InstanceType": TYPE, "MaxCount": 1, "MinCount": 1}
    [made] = (client or api.ec2).run_instances(**values, Placement=placement)["Instances"]
    return made


def found(api, **filters):
    asked = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    pages = api.ec2.describe_instances(Filters=asked)["Reservations"]
    return [one["InstanceId"] for page in pages for one in page["Instances"]]


def test_a_host_is_shown_as_it_is(api):
    tags = [{"ResourceType": "dedicated-host", "Tags": [{"Key": "team", "Value": "a"}]}]
    [host] = allocate(api, TagSpecifications=tags, ClientToken="once", HostRecovery="off", HostMaintenance="off")
    [made] = shown(api, host)
    [capacity] = made["AvailableCapacity"].pop("AvailableInstanceCapacity")
    assert capacity["InstanceType"] == TYPE
    assert capacity["AvailableCapacity"] == capacity["TotalCapacity"] > 1
    assert made == {
        "HostId": host,
        "OwnerId": "111111111111",
        "AutoPlacement": "off",
        "AllowsMultipleInstanceTypes": "off",
        "AvailabilityZone": "us-east-1a",
        "AvailabilityZoneId": "use1-az1",
        "AvailableCapacity": {"AvailableVCpus": 16},
        "ClientToken": "once",
        "State": "available",
        "AllocationTime": made["AllocationTime"],
        "HostRecovery": "off",
        "HostMaintenance": "off",
        "MemberOfServiceLinkedResourceGroup": False,
        "HostProperties": {"InstanceType": TYPE, "InstanceFamily": "stead", "Cores": 8, "TotalVCpus": 16},
        "Instances": [],
        "Tags": [{"Key": "team", "Value": "a"}],
    }
    one = launch(api, Tenancy="host", HostId=host, Affinity="host")
    assert one["Placement"] == one["Placement"] | {"Tenancy": "host", "HostId": host, "Affinity": "host"}
    [used] = shown(api, host)
    assert used["Instances"] == [{"InstanceId": one["InstanceId"], "InstanceType": TYPE, "OwnerId": "111111111111"}]
    [left] = used["AvailableCapacity"]["AvailableInstanceCapacity"]
    assert left["AvailableCapacity"] == capacity["AvailableCapacity"] - 1
    data = api.ec2.get_launch_template_data(InstanceId=one["InstanceId"])["LaunchTemplateData"]
    assert data["Placement"] == data["Placement"] | {"Tenancy": "host", "HostId": host, "Affinity": "host"}


def test_each_filter_finds_what_it_says(api):
    [mine] = allocate(api, AutoPlacement="on", ClientToken="t")
    [other] = allocate(
        api,
        InstanceType="t3.nano",
        TagSpecifications=[{"ResourceType": "dedicated-host", "Tags": [{"Key": "team", "Value": "a"}]}],
    )
    api.ec2.release_hosts(HostIds=[other])
    both = {mine, other}
    for name, value, ids in (
        ("auto-placement", "on", {mine}),
        ("auto-placement", "off", {other}),
        ("availability-zone", "us-east-1a", both),
        ("availability-zone", "us-east-1b", set()),
        ("client-token", "t", {mine}),
        ("host-reservation-id", "*", set()),
        ("instance-type", "t3.nano", {other}),
        ("state", "available", {mine}),
        ("state", "released", {other}),
        ("tag-key", "team", {other}),
        ("tag:team", "a", {other}),
    ):
        assert {one["HostId"] for one in shown(api, **{name: value})} == ids, name
    assert api.other.describe_hosts()["Hosts"] == []
    assert "ReleaseTime" in shown(api, other)[0]
    api.refused("InvalidHostID.NotFound", api.other.describe_hosts, HostIds=[mine])
    api.refused("InvalidHostID.Malformed", api.ec2.describe_hosts, HostIds=["h-1"])
    api.refused("InvalidParameterValue", api.ec2.describe_hosts, Filter=[{"Name": "owner-id", "Values": ["1"]}])


def test_instances_are_found_by_their_tenancy_and_host(api):
    [host] = allocate(api)
    on_it = launch(api, HostId=host, Affinity="host")["InstanceId"]
    dedicated = launch(api, Tenancy="dedicated")
    assert dedicated["Placement"]["Tenancy"] == "dedicated"
    assert "HostId" not in dedicated["Placement"]
    assert found(api, tenancy="host") == found(api, host_id=host) == found(api, affinity="host") == [on_it]
    assert found(api, tenancy="dedicated") == [dedicated["InstanceId"]]
    assert found(api, tenancy="default") == []
    api.refused("InsufficientInstanceCapacity", lambda: launch(api))


def test_a_launch_template_and_a_vpc_say_the_tenancy(api):
    data = {"ImageId": api.world.image_id, "InstanceType": TYPE, "Placement": {"Tenancy": "dedicated"}}
    api.ec2.create_launch_template(LaunchTemplateName="own", LaunchTemplateData=data)
    named = {"LaunchTemplateName": "own", "Version": "1"}
    [one] = api.ec2.run_instances(LaunchTemplate=named, MinCount=1, MaxCount=1)["Instances"]
    assert one["Placement"]["Tenancy"] == "dedicated"
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16", InstanceTenancy="dedicated")["Vpc"]
    assert vpc["InstanceTenancy"] == "dedicated"
    subnet = api.ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.0.0.0/24", AvailabilityZone="us-east-1a")
    asked = {"ImageId": api.world.image_id, "InstanceType": TYPE, "SubnetId": subnet["Subnet"]["SubnetId"]}
    [two] = api.ec2.run_instances(MinCount=1, MaxCount=1, **asked)["Instances"]
    assert two["Placement"]["Tenancy"] == "dedicated"
    api.ec2.modify_vpc_tenancy(VpcId=vpc["VpcId"], InstanceTenancy="default")
    [three] = api.ec2.run_instances(MinCount=1, MaxCount=1, **asked)["Instances"]
    assert three["Placement"]["Tenancy"] == "default"


def test_what_is_done_is_said_of_each_host(api):
    [host] = allocate(api)
    launch(api, Tenancy="host", HostId=host)
    asked = [host, NOBODY]
    gone = {"ResourceId": NOBODY, "Error": {"Code": "Client.InvalidHostID.NotFound"}}
    done = api.ec2.modify_hosts(HostIds=asked, AutoPlacement="on")
    assert done["Successful"] == [host]
    [refusal] = done["Unsuccessful"]
    assert (refusal["ResourceId"], refusal["Error"]["Code"]) == (NOBODY, gone["Error"]["Code"])
    assert shown(api, host)[0]["AutoPlacement"] == "on"
    assert launch(api, Tenancy="host")["Placement"]["HostId"] == host
    released = api.ec2.release_hosts(HostIds=asked)
    assert released["Successful"] == []
    assert {one["ResourceId"]: one["Error"]["Code"] for one in released["Unsuccessful"]} == {
        host: "Client.InvalidHost.Occupied",
        NOBODY: "Client.InvalidHostID.NotFound",
    }
    words = {one["ResourceId"]: one["Error"]["Message"] for one in released["Unsuccessful"]}
    assert words[host] == f"Dedicated host '{host}' cannot be released as it is occupied."
    [free] = allocate(api)
    assert api.ec2.release_hosts(HostIds=[free])["Successful"] == [free]
    for call in (api.other.release_hosts, api.other.modify_hosts):
        given = {"AutoPlacement": "off"} if call == api.other.modify_hosts else {}
        [refusal] = call(HostIds=[host], **given)["Unsuccessful"]
        assert refusal["Error"]["Code"] == "Client.InvalidHostID.NotFound"


def test_no_guest_is_promised_another_host(api):
    [host] = allocate(api)
    for name in ("HostRecovery", "HostMaintenance"):
        assert api.ec2.modify_hosts(HostIds=[host], **{name: "off"})["Successful"] == [host]
        api.refused("UnsupportedOperation", api.ec2.modify_hosts, HostIds=[host], **{name: "on"})
        api.refused("InvalidParameterValue", api.ec2.modify_hosts, HostIds=[host], **{name: "maybe"})
        asked = {"InstanceType": TYPE, "Quantity": 1, "AvailabilityZone": "us-east-1a"}
        api.refused("UnsupportedOperation", api.ec2.allocate_hosts, **asked, **{name: "on"})
    api.refused("MissingParameter", api.ec2.modify_hosts, HostIds=[host])


def test_a_stopped_instance_goes_to_another_tenancy(api):
    [host] = allocate(api)
    one = launch(api)["InstanceId"]
    modify = api.ec2.modify_instance_placement
    asked = {"InstanceId": one, "Tenancy": "host", "HostId": host, "Affinity": "host"}
    api.refused("IncorrectInstanceState", modify, **asked)
    api.run(lambda tx: setattr(tx.session.get_one(Instance, one), "state", "stopped"))
    assert modify(**asked)["Return"] is True
    assert found(api, host_id=host) == [one]
    modify(InstanceId=one, Affinity="default")
    assert found(api, affinity="default") == [one]


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("InsufficientHostCapacity", {"AvailabilityZone": "us-east-1b"}),
        ("HostLimitExceeded", {"Quantity": 3}),
        ("InvalidParameterValue", {"Quantity": 0}),
        ("InvalidAutoPlacement", {"AutoPlacement": "yes"}),
        ("InvalidAvailabilityZone", {"AvailabilityZone": "us-east-1z"}),
        ("InvalidInstanceType", {"InstanceType": "t3.none"}),
        ("InvalidParameterCombination", {"InstanceFamily": "stead"}),
        ("UnsupportedOperation", {"HostRecovery": "on"}),
        ("UnsupportedOperation", {"HostMaintenance": "on"}),
        ("UnsupportedOperation", {"OutpostArn": "arn:aws:x"}),
        ("UnsupportedOperation", {"AssetIds": ["asset-1"]}),
    ],
)
def test_bad_requests_allocate_nothing(api, code, given):
    api.refused(code, lambda: allocate(api, **given))
    assert shown(api) == []


def test_a_repeated_request_gets_the_same_hosts(api):
    first, again = (allocate(api, Quantity=2, ClientToken="once") for _ in range(2))
    assert first == again
    api.refused("IdempotentParameterMismatch", lambda: allocate(api, ClientToken="once"))


def test_a_released_host_is_shown_for_a_while(api, tmp_path):
    [host] = allocate(api)
    api.ec2.release_hosts(HostIds=[host])
    settings = Settings(state_dir=tmp_path)
    api.run(clean_up, settings, now())
    assert [one["State"] for one in shown(api, host)] == ["released"]
    api.run(clean_up, settings, now() + timedelta(seconds=settings.terminated_kept_seconds))
    assert shown(api) == []


def test_policies_are_about_the_host_that_is_named(api):
    iam = api.client(api.world.one, "iam")
    [mine], [other] = allocate(api), allocate(api)
    user = who_may(api, iam, "user", "ec2:*")("ec2")
    arn = f"arn:aws:ec2:us-east-1:111111111111:dedicated-host/{other}"
    deny = document("ec2:*", effect="Deny", resource=arn)
    iam.put_user_policy(UserName="user", PolicyName="deny", PolicyDocument=deny)
    api.refused("UnauthorizedOperation", user.release_hosts, HostIds=[mine, other])
    api.refused("UnauthorizedOperation", user.modify_hosts, HostIds=[other], AutoPlacement="on")
    assert user.release_hosts(HostIds=[mine])["Successful"] == [mine]


def metadata_host(api, instance_id):
    """The Dedicated Host that a guest reads in its metadata."""
    host_id = api.run(lambda tx: tx.session.get_one(Instance, instance_id).host_id)
    body = api.run(lambda tx: tx.session.get_one(HostResource, (host_id, pb.KIND_MACHINE, instance_id)).body)
    return pb.Resource.FromString(body).machine.metadata.dedicated_host_id


def test_a_guest_reads_on_which_dedicated_host_it_is(api):
    [host] = allocate(api)
    assert metadata_host(api, launch(api, HostId=host)["InstanceId"]) == host
    assert metadata_host(api, launch(api)["InstanceId"]) == ""


def test_types_say_whether_dedicated_hosts_are_for_them(api):
    supported = [{"Name": "dedicated-hosts-supported", "Values": ["true"]}]
    [found] = api.ec2.describe_instance_types(InstanceTypes=[TYPE], Filters=supported)["InstanceTypes"]
    assert found["DedicatedHostsSupported"]
    kind = api.run(instance_types.find, TYPE)
    assert facts(replace(kind, whole_cores=True))["dedicated-hosts-supported"] == ("false",)


def test_the_command_line(api):
    """Dedicated Hosts and capacity reservations with the `aws` of its users."""
    key = {"AWS_ACCESS_KEY_ID": api.world.one.caller.access_key_id, "AWS_SECRET_ACCESS_KEY": SECRET}
    place = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{api.port}", "AWS_DEFAULT_REGION": "us-east-1"}

    def aws(*arguments):
        done = aws_command.call(("--output", "json", "ec2", *arguments), os.environ | key | place)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    about = ("--instance-type", TYPE, "--availability-zone", "us-east-1a")
    [host] = aws("allocate-hosts", *about, "--quantity", "1")["HostIds"]
    assert aws("modify-hosts", "--host-ids", host, "--auto-placement", "on") == {
        "Successful": [host],
        "Unsuccessful": [],
    }
    [seen] = aws("describe-hosts", "--filter", "Name=auto-placement,Values=on")["Hosts"]
    assert (seen["HostId"], seen["State"]) == (host, "available")
    assert aws("release-hosts", "--host-ids", host)["Successful"] == [host]
    count = ("--instance-platform", "Linux/UNIX", "--instance-count", "2")
    made = aws("create-capacity-reservation", *about, *count)["CapacityReservation"]
    named = ("--capacity-reservation-id", made["CapacityReservationId"])
    assert aws("modify-capacity-reservation", *named, "--instance-count", "1") == {"Return": True}
    [left] = aws("describe-capacity-reservations")["CapacityReservations"]
    assert (left["TotalInstanceCount"], left["State"]) == (1, "active")
    assert aws("cancel-capacity-reservation", *named) == {"Return": True}
