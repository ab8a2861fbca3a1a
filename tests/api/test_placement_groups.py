"""Placement groups through boto3."""

import pytest


def names(api, *filters, **given):
    asked = {"Filters": [{"Name": name, "Values": list(values)} for name, *values in filters]} if filters else {}
    return [one["GroupName"] for one in api.ec2.describe_placement_groups(**asked, **given)["PlacementGroups"]]


def make(api, name="own", **given):
    return api.ec2.create_placement_group(GroupName=name, **({"Strategy": "cluster"} | given))["PlacementGroup"]


def test_a_group_of_each_strategy(api):
    account = api.world.one.caller.account_id
    tags = [{"Key": "a", "Value": "b"}]
    made = make(api, TagSpecifications=[{"ResourceType": "placement-group", "Tags": tags}])
    assert made == {
        "GroupName": "own",
        "GroupId": made["GroupId"],
        "GroupArn": f"arn:aws:ec2:us-east-1:{account}:placement-group/own",
        "State": "available",
        "Strategy": "cluster",
        "Tags": tags,
    }
    assert made["GroupId"].startswith("pg-0")
    assert make(api, "spread", Strategy="spread")["SpreadLevel"] == "rack"
    assert make(api, "hosts", Strategy="spread", SpreadLevel="host")["SpreadLevel"] == "host"
    assert make(api, "parts", Strategy="partition")["PartitionCount"] == 2
    assert make(api, "seven", Strategy="partition", PartitionCount=7)["PartitionCount"] == 7
    assert names(api) == ["hosts", "own", "parts", "seven", "spread"]
    assert api.ec2.describe_placement_groups(GroupIds=[made["GroupId"]])["PlacementGroups"] == [made]


def test_groups_are_found_by_what_they_are(api):
    first = make(
        api, "a", TagSpecifications=[{"ResourceType": "placement-group", "Tags": [{"Key": "k", "Value": "v"}]}]
    )
    make(api, "b", Strategy="spread")
    make(api, "c", Strategy="partition", PartitionCount=3)
    assert names(api, ("strategy", "cluster", "partition")) == ["a", "c"]
    assert names(api, ("group-name", "b*")) == ["b"]
    assert names(api, ("group-arn", first["GroupArn"])) == ["a"]
    assert names(api, ("partition-count", "3")) == ["c"]
    assert names(api, ("spread-level", "rack")) == ["b"]
    assert names(api, ("state", "available")) == ["a", "b", "c"]
    assert names(api, ("state", "deleted")) == []
    assert names(api, ("tag:k", "v")) == ["a"]
    assert names(api, GroupNames=["c", "a"]) == ["a", "c"]
    api.refused("InvalidPlacementGroup.Unknown", api.ec2.describe_placement_groups, GroupNames=["a", "nobody"])
    api.refused("InvalidPlacementGroup.Unknown", api.ec2.describe_placement_groups, GroupIds=["pg-" + "0" * 17])
    api.refused("InvalidPlacementGroupId.Malformed", api.ec2.describe_placement_groups, GroupIds=["pg-1"])
    colour = [{"Name": "group-colour", "Values": ["red"]}]
    api.refused("InvalidParameterValue", api.ec2.describe_placement_groups, Filters=colour)


def test_a_deleted_group_leaves_its_name_and_nothing_else(api):
    make(api, TagSpecifications=[{"ResourceType": "placement-group", "Tags": [{"Key": "k", "Value": "v"}]}])
    api.other.create_placement_group(GroupName="own", Strategy="cluster")
    api.ec2.delete_placement_group(GroupName="own")
    assert names(api) == []
    assert api.ec2.describe_tags()["Tags"] == []
    assert len(api.other.describe_placement_groups()["PlacementGroups"]) == 1
    api.refused("InvalidPlacementGroup.Unknown", api.ec2.delete_placement_group, GroupName="own")
    make(api)


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("MissingParameter", {"GroupName": ""}),
        ("MissingParameter", {"Strategy": ""}),
        ("InvalidParameterValue", {"GroupName": "x" * 256}),
        ("InvalidParameterValue", {"GroupName": "ü"}),
        ("InvalidParameterValue", {"GroupName": "a\nb"}),
        ("InvalidParameterValue", {"Strategy": "scatter"}),
        ("InvalidParameterValue", {"Strategy": "partition", "PartitionCount": 0}),
        ("InvalidParameterValue", {"Strategy": "partition", "PartitionCount": 8}),
        ("InvalidParameterCombination", {"PartitionCount": 2}),
        ("InvalidParameterCombination", {"SpreadLevel": "rack"}),
        ("InvalidParameterValue", {"Strategy": "spread", "SpreadLevel": "room"}),
        ("UnsupportedOperation", {"LinkedGroupId": "pg-" + "0" * 17}),
        ("InvalidPlacementGroup.Duplicate", {"GroupName": "taken"}),
    ],
)
def test_bad_requests_change_nothing(api, code, given):
    make(api, "taken")
    request = {"GroupName": "new", "Strategy": "cluster"} | given
    api.refused(code, api.ec2.create_placement_group, **request)
    assert names(api) == ["taken"]


def test_there_are_so_many_and_no_more(api, monkeypatch):
    monkeypatch.setattr("stead_controller.resources.fleet.placement_groups.MOST", 2)
    make(api, "a")
    make(api, "b")
    api.refused("PlacementGroupLimitExceeded", api.ec2.create_placement_group, GroupName="c", Strategy="cluster")
    api.other.create_placement_group(GroupName="c", Strategy="cluster")
