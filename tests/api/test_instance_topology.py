"""DescribeInstanceTopology: who shares a zone, a rack or a host with whom, in nodes that only the account can compare."""

import pytest

from stead_controller.db.tables import Instance
from tests.support import rows


@pytest.fixture
def hosts(api):
    """Three hosts: two of one rack, and one without a rack."""

    def add(tx):
        made = [rows.host(zone="us-east-1a") for _ in range(3)]
        tx.session.add_all(made)
        for host in made[:2]:
            host.labels = {"rack": "r1", "disks": "fast"}
        tx.session.flush()
        return [host.id for host in made]

    return api.run(add)


def put(api, instance_id, host_id):
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "host_id", host_id))


def nodes(client, *ids):
    found = client.describe_instance_topology(InstanceIds=list(ids))["Instances"]
    by_id = {one["InstanceId"]: one.get("NetworkNodes", []) for one in found}
    return [by_id[one] for one in ids]


def test_instances_that_are_near_share_nodes(api, hosts):
    launched = [api.launch(number=number) for number in range(1, 5)]
    for instance_id, host_id in zip(launched, (hosts[0], hosts[0], hosts[1], hosts[2]), strict=True):
        put(api, instance_id, host_id)
    first, neighbour, of_the_rack, far = nodes(api.ec2, *launched)
    assert len(set(first)) == 3
    assert all(node.startswith("nn-0") and len(node) == 20 for node in first)
    assert neighbour == first
    assert (of_the_rack[:2], of_the_rack[2] == first[2]) == (first[:2], False)
    assert (far[0], far[1] == first[1], far[2] == first[2]) == (first[0], False, False)


def test_accounts_cannot_compare_their_nodes(api, hosts):
    own, theirs = api.launch(number=1), api.launch(api.world.other, number=2)
    for instance_id in (own, theirs):
        put(api, instance_id, hosts[0])
    [mine], [others] = nodes(api.ec2, own), nodes(api.other, theirs)
    assert not set(mine) & set(others)
    api.refused("InvalidInstanceID.NotFound", api.ec2.describe_instance_topology, InstanceIds=[theirs])


@pytest.mark.parametrize("state", ["pending", "stopped", "shutting-down", "terminated"])
def test_who_does_not_run_is_nowhere(api, state):
    instance_id = api.launch(number=1, state=state)
    assert nodes(api.ec2, instance_id) == [[]]


def test_what_is_shown_and_found(api):
    small, large = api.launch(number=1), api.launch(number=2, instance_type="m5.large")
    zone = api.world.cloud.zones[0]
    [shown] = api.ec2.describe_instance_topology(InstanceIds=[small])["Instances"]
    assert {key: shown[key] for key in ("InstanceId", "AvailabilityZone")} == {
        "InstanceId": small,
        "AvailabilityZone": zone,
    }
    assert shown["ZoneId"] == "use1-az1"
    assert "GroupName" not in shown

    def found(name, *values):
        asked = [{"Name": name, "Values": list(values)}]
        return [one["InstanceId"] for one in api.ec2.describe_instance_topology(Filters=asked)["Instances"]]

    assert found("instance-type", "m5*") == [large]
    assert found("zone-id", "use1-az1") == found("availability-zone", zone) == sorted([small, large])
    assert found("zone-id", "use1-az9") == []
    wrong = [{"Name": "tag:a", "Values": ["b"]}]
    api.refused("InvalidParameterValue", api.ec2.describe_instance_topology, Filters=wrong)


def test_instances_of_placement_groups(api):
    for client in (api.ec2, api.other):
        client.create_placement_group(GroupName="near", Strategy="cluster")
    api.ec2.create_placement_group(GroupName="empty", Strategy="cluster")
    [group] = api.ec2.describe_placement_groups(GroupNames=["near"])["PlacementGroups"]
    inside = api.launch(number=1, placement_group_id=group["GroupId"], placement_group_name="near")
    api.launch(number=2)
    topology = api.ec2.describe_instance_topology
    [shown] = topology(GroupNames=["near", "empty"])["Instances"]
    assert (shown["InstanceId"], shown["GroupName"]) == (inside, "near")
    assert topology(GroupNames=["empty"])["Instances"] == []
    assert api.other.describe_instance_topology(GroupNames=["near"])["Instances"] == []
    api.refused("InvalidPlacementGroup.Unknown", topology, GroupNames=["near", "none"])
    api.refused("InvalidParameterValue", topology, GroupNames=[f"g{number}" for number in range(101)])


def test_pages(api):
    launched = sorted(api.launch(number=number) for number in range(1, 23))
    topology = api.ec2.describe_instance_topology
    first = topology()
    assert [one["InstanceId"] for one in first["Instances"]] == launched[:20]
    rest = topology(NextToken=first["NextToken"])
    assert [one["InstanceId"] for one in rest["Instances"]] == launched[20:]
    assert "NextToken" not in rest
    assert len(topology(InstanceIds=launched)["Instances"]) == 22
    assert len(topology(MaxResults=1)["Instances"]) == 1
    api.refused("InvalidParameterCombination", topology, InstanceIds=launched[:1], MaxResults=5)
    many = [f"i-{number:017x}" for number in range(101)]
    api.refused("InvalidParameterValue", topology, InstanceIds=many)
