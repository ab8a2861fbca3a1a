"""Launches into placement groups through boto3: where instances are, what is refused, what is shown of it."""

from collections import Counter

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Host, Instance
from tests.api.identity import document, who_may
from tests.support import rows

TYPE = "stead.tiny"
FULL = "InsufficientInstanceCapacity"


@pytest.fixture
def hosts(api):
    """Three hosts in the first zone and one in the second, all alike; gives their ids."""
    more = [rows.host(), rows.host(), rows.host(zone="us-east-1b")]
    api.run(lambda tx: tx.session.add_all(more))
    return [api.world.host_id, *(host.id for host in more)]


def group(api, strategy, name="own", **given):
    return api.ec2.create_placement_group(GroupName=name, Strategy=strategy, **given)["PlacementGroup"]


def launch(api, count=1, *, least=None, **placement):
    """Launch into the group `own`, in the first zone if nothing else is said."""
    place = {"GroupName": "own", "AvailabilityZone": "us-east-1a"} | placement
    place = {name: value for name, value in place.items() if value is not None}
    values = {"ImageId": api.world.image_id, "InstanceType": TYPE, "MaxCount": count, "MinCount": least or count}
    return [one["InstanceId"] for one in api.ec2.run_instances(**values, Placement=place)["Instances"]]


def refused(api, code, count=1, **placement):
    return api.refused(code, lambda: launch(api, count, **placement))


def hosts_of(api, ids):
    query = select(Instance.id, Instance.host_id).where(Instance.id.in_(ids))
    found = api.run(lambda tx: dict(tx.session.execute(query).all()))
    return [found[instance_id] for instance_id in ids]


def shown(api, instance_id):
    [reservation] = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]["Placement"]


def found(api, name, *values):
    pages = api.ec2.describe_instances(Filters=[{"Name": name, "Values": list(values)}])["Reservations"]
    return sorted(one["InstanceId"] for page in pages for one in page["Instances"])


def change_hosts(api, ids, **values):
    api.run(lambda tx: tx.session.execute(update(Host).where(Host.id.in_(ids)).values(**values)) and None)


def change(api, instance_id, **values):
    api.run(lambda tx: tx.session.execute(update(Instance).where(Instance.id == instance_id).values(**values)) and None)


def stopped(api, instance_id):
    """Let an instance be stopped, as its host would report it; its room is not given back to the host."""
    change(api, instance_id, state="stopped", capacity_held=False)


def test_instances_of_a_spread_group_have_racks_of_their_own(api, hosts):
    group(api, "spread")
    change_hosts(api, hosts[:2], labels={"rack": "north"})
    ids = launch(api, 2)
    assert sorted(hosts_of(api, ids)) in [sorted([hosts[0], hosts[2]]), sorted([hosts[1], hosts[2]])]
    refused(api, FULL)
    assert len(launch(api, 1, AvailabilityZone="us-east-1b")) == 1, "racks of another zone are others"
    refused(api, FULL, AvailabilityZone="us-east-1b")
    [gone] = [one for one in ids if hosts_of(api, [one]) != [hosts[2]]]
    stopped(api, gone)
    (instead,) = launch(api)
    assert hosts_of(api, [instead])[0] in hosts[:2]
    api.refused(FULL, api.ec2.start_instances, InstanceIds=[gone])
    assert shown(api, gone)["GroupName"] == "own"


def test_instances_that_are_spread_over_hosts_may_share_racks(api, hosts):
    group(api, "spread", SpreadLevel="host")
    change_hosts(api, hosts, labels={"rack": "north"})
    ids = launch(api, 5, least=1)
    assert sorted(hosts_of(api, ids)) == sorted(hosts[:3])
    refused(api, FULL)


def test_seven_instances_at_most_are_spread_over_the_racks_of_a_zone(api, hosts):
    group(api, "spread")
    api.run(lambda tx: tx.session.add_all(rows.host() for _ in range(6)))
    refused(api, "InstanceLimitExceeded", 8)
    ids = launch(api, 9, least=2)
    assert len(ids) == len(set(hosts_of(api, ids))) == 7
    refused(api, "InstanceLimitExceeded")
    assert len(launch(api, AvailabilityZone="us-east-1b")) == 1
    stopped(api, ids[0])
    (instead,) = launch(api)
    message = api.refused("InstanceLimitExceeded", api.ec2.start_instances, InstanceIds=[ids[0]])
    assert "'own' has 7 running instances" in message
    stopped(api, instead)
    api.ec2.start_instances(InstanceIds=[ids[0]])


def test_partitions_share_no_rack(api, hosts):
    own = group(api, "partition", PartitionCount=3)
    ids = launch(api, 6)
    numbers = [shown(api, instance_id)["PartitionNumber"] for instance_id in ids]
    assert numbers == [1, 2, 3, 1, 2, 3]
    of_hosts = dict(zip(hosts_of(api, ids), numbers, strict=True))
    assert len(of_hosts) == 3
    assert Counter(zip(hosts_of(api, ids), numbers, strict=True)) == dict.fromkeys(of_hosts.items(), 2)
    (asked,) = launch(api, GroupName=None, GroupId=own["GroupId"], PartitionNumber=2)
    assert of_hosts[hosts_of(api, [asked])[0]] == 2
    assert found(api, "placement-partition-number", "2") == sorted([ids[1], ids[4], asked])
    assert found(api, "placement-group-name", "ow*") == sorted([*ids, asked])
    change_hosts(api, [host for host, number in of_hosts.items() if number == 1], schedulable=False)
    refused(api, FULL, PartitionNumber=1)
    (other,) = launch(api, 1)
    assert shown(api, other)["PartitionNumber"] == 3, "that of the fewest which has room"


def test_no_partition_is_in_the_rack_of_another(api, hosts):
    group(api, "partition")
    change_hosts(api, hosts, labels={"rack": "north"})
    first = set(hosts_of(api, launch(api, 4, PartitionNumber=1)))
    refused(api, FULL, PartitionNumber=2)
    other = next(host_id for host_id in hosts[:3] if host_id not in first)
    change_hosts(api, [other], labels={})
    assert set(hosts_of(api, launch(api, 4, PartitionNumber=2))) == {other}


def test_a_cluster_is_on_one_host_while_that_has_room_and_in_one_zone(api, hosts):
    group(api, "cluster")
    ids = launch(api, 3, AvailabilityZone="us-east-1b")
    assert set(hosts_of(api, ids)) == {hosts[3]}
    words = refused(api, "InvalidPlacementGroup.InUse")
    assert words == "The placement group 'own' is in use in another availability zone: us-east-1b"
    (more,) = launch(api, AvailabilityZone=None)
    assert hosts_of(api, [more]) == [hosts[3]], "who names no zone gets that of the cluster"
    for instance_id in (*ids, more):
        stopped(api, instance_id)
    first, second = launch(api, 2)
    refused(api, "InvalidPlacementGroup.InUse", AvailabilityZone="us-east-1b")
    [host_id, same] = hosts_of(api, [first, second])
    assert host_id == same
    change_hosts(api, hosts, labels={"rack": "north"})
    change_hosts(api, [host_id], schedulable=False)
    (third,) = launch(api)
    assert hosts_of(api, [third])[0] not in (host_id, hosts[3])


def test_groups_are_shown(api, hosts):
    own = group(api, "spread")
    (mine,) = launch(api)
    plain = api.launch()
    place = shown(api, mine)
    assert (place["GroupName"], place["GroupId"]) == ("own", own["GroupId"])
    assert "PartitionNumber" not in place
    assert (shown(api, plain)["GroupName"], shown(api, plain).keys() & {"GroupId", "PartitionNumber"}) == ("", set())
    assert found(api, "placement-group-name", "*") == [mine]
    assert found(api, "placement-partition-number", "*") == []
    data = api.ec2.get_launch_template_data(InstanceId=mine)["LaunchTemplateData"]
    assert data["Placement"]["GroupName"] == "own"
    types = api.ec2.describe_instance_types(InstanceTypes=["m5.large", "t3.micro"])["InstanceTypes"]
    strategies = {one["InstanceType"]: one["PlacementGroupInfo"]["SupportedStrategies"] for one in types}
    assert strategies == {"m5.large": ["cluster", "partition", "spread"], "t3.micro": ["partition", "spread"]}


def test_a_group_with_instances_is_not_deleted(api, hosts):
    group(api, "spread")
    (mine,) = launch(api)
    api.refused("InvalidPlacementGroup.InUse", api.ec2.delete_placement_group, GroupName="own")
    stopped(api, mine)
    api.refused("InvalidPlacementGroup.InUse", api.ec2.delete_placement_group, GroupName="own")
    change(api, mine, state="terminated")
    api.ec2.delete_placement_group(GroupName="own")
    assert shown(api, mine)["GroupName"] == "own"


@pytest.mark.parametrize(
    ("code", "placement"),
    [
        ("InvalidPlacementGroup.Unknown", {"GroupName": "nobody"}),
        ("InvalidPlacementGroup.Unknown", {"GroupName": "theirs"}),
        ("InvalidPlacementGroup.Unknown", {"GroupName": None, "GroupId": "pg-" + "0" * 17}),
        ("InvalidPlacementGroupId.Malformed", {"GroupName": None, "GroupId": "pg-1"}),
        ("InvalidParameterCombination", {"GroupId": "pg-" + "0" * 17}),
        ("InvalidParameterCombination", {"GroupName": None, "PartitionNumber": 1}),
        ("InvalidParameterCombination", {"PartitionNumber": 1}),
        ("InvalidParameterValue", {"GroupName": "parts", "PartitionNumber": 0}),
        ("InvalidParameterValue", {"GroupName": "parts", "PartitionNumber": 3}),
        ("InvalidParameterCombination", {"Tenancy": "dedicated"}),
        ("InvalidHostID.Malformed", {"HostId": "h-0"}),
        ("InvalidParameterCombination", {"Affinity": "host"}),
        ("UnsupportedOperation", {"SpreadDomain": "x"}),
        ("UnsupportedOperation", {"HostResourceGroupArn": "arn:aws:resource-groups:us-east-1:1:group/x"}),
    ],
)
def test_bad_placements_change_nothing(api, hosts, code, placement):
    group(api, "spread")
    group(api, "partition", "parts")
    api.other.create_placement_group(GroupName="theirs", Strategy="spread")
    refused(api, code, **placement)


def test_burstable_types_are_in_no_cluster(api, hosts):
    group(api, "cluster")
    values = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1, "Placement": {"GroupName": "own"}}
    words = api.refused("InvalidParameterCombination", api.ec2.run_instances, InstanceType="t3.micro", **values)
    assert words.startswith("Cluster placement groups are not supported by the 't3.micro' instance type.")
    (one,) = launch(api)
    stopped(api, one)
    modify = api.ec2.modify_instance_attribute
    assert (
        api.refused("InvalidParameterCombination", modify, InstanceId=one, InstanceType={"Value": "t3.micro"}) == words
    )


def test_templates_and_fleets_launch_into_groups(api, hosts):
    group(api, "partition")
    data = {
        "ImageId": api.world.image_id,
        "InstanceType": TYPE,
        "Placement": {"GroupName": "own", "PartitionNumber": 2},
    }
    api.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
    template = {"LaunchTemplateName": "web", "Version": "1"}
    [one] = api.ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)["Instances"]
    assert (one["Placement"]["GroupName"], one["Placement"]["PartitionNumber"]) == ("own", 2)
    group(api, "spread", "apart")
    api.ec2.create_launch_template_version(
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": api.world.image_id, "InstanceType": TYPE}
    )
    config = {
        "LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "2"},
        "Overrides": [{"AvailabilityZone": "us-east-1a", "Placement": {"GroupName": "apart"}}],
    }
    fleet = api.ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[config],
        TargetCapacitySpecification={"TotalTargetCapacity": 5, "DefaultTargetCapacityType": "on-demand"},
    )
    ids = [instance_id for pool in fleet["Instances"] for instance_id in pool["InstanceIds"]]
    assert sorted(hosts_of(api, ids)) == sorted(hosts[:3])
    assert [error["ErrorCode"] for error in fleet["Errors"]] == [FULL]
    for part in (*fleet["Instances"], *fleet["Errors"]):
        overridden = part["LaunchTemplateAndOverrides"]["Overrides"]
        assert overridden == {"AvailabilityZone": "us-east-1a", "Placement": {"GroupName": "apart"}}


def test_launches_and_moves_into_a_group_need_rights_on_it(api, hosts):
    """Whether the request names it or gives its id."""
    own, iam = group(api, "spread"), api.client(api.world.one, "iam")
    alice = who_may(api, iam, "alice", "ec2:*")("ec2")
    deny = document("ec2:RunInstances", "ec2:ModifyInstancePlacement", effect="Deny", resource=own["GroupArn"])
    iam.put_user_policy(UserName="alice", PolicyName="deny", PolicyDocument=deny)
    values = {"ImageId": api.world.image_id, "InstanceType": TYPE, "MinCount": 1, "MaxCount": 1}
    [halted] = launch(api, GroupName=None)
    stopped(api, halted)
    for given in ({"GroupName": "own"}, {"GroupId": own["GroupId"]}):
        for call, params in (
            (alice.run_instances, values | {"Placement": given}),
            (alice.modify_instance_placement, {"InstanceId": halted} | given),
        ):
            words = api.refused("UnauthorizedOperation", call, **params)
            assert f"on resource: {own['GroupArn']} with an explicit deny" in words
    iam.delete_user_policy(UserName="alice", PolicyName="deny")
    alice.modify_instance_placement(InstanceId=halted, GroupId=own["GroupId"])
    alice.run_instances(**values, Placement={"GroupId": own["GroupId"]})
