"""ModifyInstancePlacement through boto3: the group of a stopped instance decides where it starts."""

import pytest

from stead_controller.db.tables import HostResource
from stead_proto.v1 import desired_pb2 as pb
from tests.api.test_launches_into_groups import FULL, change_hosts, found, group, hosts_of, launch, shown, stopped
from tests.support import rows


@pytest.fixture
def halted(api):
    """A stopped instance in no group, on the only host of its zone; there is one in another zone."""
    api.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    (instance_id,) = launch(api, GroupName=None)
    stopped(api, instance_id)
    return instance_id


def metadata(api, instance_id):
    """Return the placement group and partition that the instance's host knows of."""
    host_id = hosts_of(api, [instance_id])[0]
    body = api.run(lambda tx: tx.session.get_one(HostResource, (host_id, pb.KIND_MACHINE, instance_id)).body)
    words = pb.Resource.FromString(body).machine.metadata
    return words.placement_group, words.partition_number


def test_a_stopped_instance_moves_into_a_group_between_partitions_and_out(api, halted):
    own = group(api, "partition", PartitionCount=3)
    change = api.ec2.modify_instance_placement
    assert change(InstanceId=halted, GroupName="own", PartitionNumber=2)["Return"] is True
    assert (shown(api, halted)["GroupId"], shown(api, halted)["PartitionNumber"]) == (own["GroupId"], 2)
    assert metadata(api, halted) == ("own", 2)
    change(InstanceId=halted, PartitionNumber=3)
    assert metadata(api, halted) == ("own", 3)
    change(InstanceId=halted, GroupId=own["GroupId"])
    assert "PartitionNumber" not in shown(api, halted)
    (other,) = launch(api)
    assert shown(api, other)["PartitionNumber"] == 1
    api.ec2.start_instances(InstanceIds=[halted])
    assert shown(api, halted)["PartitionNumber"] == 1, "the first that may be on its host"
    assert metadata(api, halted) == ("own", 1)
    stopped(api, halted)
    change(InstanceId=halted, GroupName="")
    assert (shown(api, halted)["GroupName"], found(api, "placement-group-name", "own")) == ("", [other])
    assert metadata(api, halted) == ("", 0)


def test_an_instance_starts_only_where_its_new_group_lets_it(api, halted):
    group(api, "spread")
    (other,) = launch(api)
    api.ec2.modify_instance_placement(InstanceId=halted, GroupName="own")
    api.refused(FULL, api.ec2.start_instances, InstanceIds=[halted])
    stopped(api, other)
    api.ec2.start_instances(InstanceIds=[halted])
    assert metadata(api, halted) == ("own", 0)


def test_the_group_of_an_instance_that_runs_is_not_changed(api, halted):
    group(api, "spread")
    api.ec2.start_instances(InstanceIds=[halted])
    api.refused("IncorrectInstanceState", api.ec2.modify_instance_placement, InstanceId=halted, GroupName="own")


def test_a_cluster_elsewhere_takes_no_instance(api, halted):
    group(api, "cluster")
    launch(api, AvailabilityZone="us-east-1b")
    change_hosts(api, [api.world.host_id], labels={"rack": "north"})
    api.refused("InvalidPlacementGroup.InUse", api.ec2.modify_instance_placement, InstanceId=halted, GroupName="own")


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("MissingParameter", {}),
        ("InvalidInstanceID.NotFound", {"InstanceId": "i-" + "0" * 17, "GroupName": "parts"}),
        ("InvalidPlacementGroup.Unknown", {"GroupName": "nobody"}),
        ("InvalidPlacementGroup.Unknown", {"GroupName": "theirs"}),
        ("InvalidPlacementGroupId.Malformed", {"GroupId": "pg-1"}),
        ("InvalidParameterCombination", {"GroupName": "parts", "GroupId": "pg-" + "0" * 17}),
        ("InvalidParameterCombination", {"PartitionNumber": 1}),
        ("InvalidParameterValue", {"GroupName": "parts", "PartitionNumber": 3}),
        ("InvalidParameterCombination", {"GroupName": "parts", "Tenancy": "host"}),
        ("InvalidParameterCombination", {"Affinity": "host"}),
        ("InvalidAffinity", {"Affinity": "guest"}),
        ("InvalidParameterValue", {"Tenancy": "shared"}),
        ("InvalidHostID.Malformed", {"HostId": "h-0", "Tenancy": "host"}),
        ("InvalidHostID.NotFound", {"HostId": "h-" + "0" * 17, "Tenancy": "host"}),
        ("UnsupportedOperation", {"GroupName": "parts", "HostResourceGroupArn": "arn:aws:x"}),
    ],
)
def test_bad_requests_change_nothing(api, halted, code, given):
    group(api, "partition", "parts")
    api.other.create_placement_group(GroupName="theirs", Strategy="spread")
    api.refused(code, api.ec2.modify_instance_placement, **{"InstanceId": halted} | given)
