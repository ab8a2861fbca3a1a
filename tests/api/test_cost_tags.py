"""Cost allocation tags by Cost Explorer's operations: which keys there are, and which divide the bill."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import UsageTag
from tests.api.identity import refused, who_may
from tests.support.clients import Account


@pytest.fixture
def costs(api):
    return api.client(api.world.one, "ce")


def activate(costs, *keys, status="Active"):
    wanted = [{"TagKey": key, "Status": status} for key in keys]
    return costs.update_cost_allocation_tags_status(CostAllocationTagsStatus=wanted)["Errors"]


def values(api, key):
    query = select(UsageTag.resource_id, UsageTag.value, UsageTag.ended).where(UsageTag.key == key)
    return {row[0]: (row[1], row[2]) for row in api.run(lambda tx: tx.session.execute(query.order_by("began")).all())}


def test_keys_are_those_of_tags_and_become_active(api, costs):
    instance = api.launch()
    api.ec2.create_tags(Resources=[instance], Tags=[{"Key": "team", "Value": "a"}, {"Key": "env", "Value": "x"}])
    api.other.create_tags(Resources=[api.launch(api.world.other)], Tags=[{"Key": "theirs", "Value": "a"}])
    assert activate(costs, "team", "none", "theirs") == [
        {"TagKey": key, "Code": "TagKeysNotFoundException", "Message": f"Tag keys not found: {key}"}
        for key in ("none", "theirs")
    ]
    found = costs.list_cost_allocation_tags()["CostAllocationTags"]
    assert [(tag["TagKey"], tag["Status"], tag["Type"]) for tag in found] == [
        ("env", "Inactive", "UserDefined"),
        ("team", "Active", "UserDefined"),
    ]
    assert "LastUpdatedDate" not in found[0]
    assert found[1]["LastUpdatedDate"].endswith("Z")
    assert "-01T00:00:00Z" in found[0]["LastUsedDate"]
    assert [tag["TagKey"] for tag in costs.list_cost_allocation_tags(Status="Active")["CostAllocationTags"]] == ["team"]
    assert costs.list_cost_allocation_tags(Type="AWSGenerated")["CostAllocationTags"] == []
    assert len(costs.list_cost_allocation_tags(TagKeys=["env", "none"])["CostAllocationTags"]) == 1


def test_pages_follow_each_other_and_filters_do_not_end_them(api, costs):
    tags = [{"Key": f"k{number:02d}", "Value": ""} for number in range(9)]
    api.ec2.create_tags(Resources=[api.launch()], Tags=tags)
    activate(costs, "k00", "k04", "k08")
    pages, token = [], {}
    while True:
        found = costs.list_cost_allocation_tags(Status="Active", MaxResults=2, **token)
        pages.append([tag["TagKey"] for tag in found["CostAllocationTags"]])
        if "NextToken" not in found:
            break
        token = {"NextToken": found["NextToken"]}
    assert pages == [["k00", "k04"], ["k08"]]
    assert refused("InvalidNextTokenException", costs.list_cost_allocation_tags, NextToken="nonsense")


def test_only_tags_of_active_keys_and_of_what_is_billed_are_noted_from_then_on(api, costs):
    instance, [vpc] = api.launch(), api.ec2.describe_vpcs()["Vpcs"][:1]
    api.ec2.create_tags(Resources=[instance], Tags=[{"Key": "team", "Value": "a"}])
    assert values(api, "team") == {}
    activate(costs, "team")
    made = [{"ResourceType": "volume", "Tags": [{"Key": "team", "Value": "b"}, {"Key": "env", "Value": "x"}]}]
    volume = api.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=made)["VolumeId"]
    api.ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "team", "Value": "c"}])
    assert values(api, "team") == {instance: ("a", None), volume: ("b", None)}
    assert values(api, "env") == {}
    api.ec2.delete_tags(Resources=[volume], Tags=[{"Key": "team", "Value": "other"}])
    assert volume in values(api, "team")
    api.ec2.delete_tags(Resources=[volume])
    assert values(api, "team")[volume][1] is not None
    activate(costs, "team", status="Inactive")
    assert values(api, "team").get(instance, ("", 0))[1] is not None
    api.ec2.create_tags(Resources=[volume], Tags=[{"Key": "team", "Value": "d"}])
    assert "d" not in {value for value, _ in values(api, "team").values()}


def test_a_key_is_given_once_and_twenty_at_most(api, costs):
    api.ec2.create_tags(Resources=[api.launch()], Tags=[{"Key": "team", "Value": "a"}])
    wanted = [{"TagKey": "team", "Status": "Active"}]
    change = costs.update_cost_allocation_tags_status
    api.refused("ValidationException", change, CostAllocationTagsStatus=wanted * 2)
    many = [{"TagKey": f"k{number}", "Status": "Active"} for number in range(21)]
    api.refused("ValidationException", change, CostAllocationTagsStatus=many)
    api.refused("ValidationException", change, CostAllocationTagsStatus=[{"TagKey": "team", "Status": "On"}])


def test_policies_say_who_may(api):
    iam = api.client(api.world.one, "iam")
    reader = who_may(api, iam, "reader", "ce:List*")("ce")
    assert reader.list_cost_allocation_tags()["CostAllocationTags"] == []
    wanted = [{"TagKey": "team", "Status": "Active"}]
    refused("AccessDeniedException", reader.update_cost_allocation_tags_status, CostAllocationTagsStatus=wanted)
    writer = who_may(api, iam, "writer", "ce:UpdateCostAllocationTagsStatus")("ce")
    refused("AccessDeniedException", writer.list_cost_allocation_tags)
    assert writer.update_cost_allocation_tags_status(CostAllocationTagsStatus=wanted)["Errors"]


def test_the_aws_command_makes_keys_active(account: Account) -> None:
    vpc = account.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    account.ec2.create_tags(Resources=[vpc], Tags=[{"Key": "team", "Value": "a"}])
    account.aws(
        "ce", "update-cost-allocation-tags-status",
        "--cost-allocation-tags-status", "TagKey=team,Status=Active",
    )  # fmt: skip
    [found] = account.aws("ce", "list-cost-allocation-tags", "--status", "Active")["CostAllocationTags"]
    assert (found["TagKey"], found["Status"]) == ("team", "Active")
