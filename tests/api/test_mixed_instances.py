"""Mixed instances policies: several types, weights, and shares of instances on demand and Spot Instances."""

from collections import Counter

import pytest

from tests.api.test_spot_instances import described, room_for
from tests.support.scaling import Groups

TEMPLATE = {"LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "1"}}


@pytest.fixture
def groups(api):
    return Groups(api)


def create(groups, overrides=(), **changes):
    distribution = changes.pop("InstancesDistribution", {})
    policy = {"LaunchTemplate": {**TEMPLATE, "Overrides": list(overrides)}, "InstancesDistribution": distribution}
    groups.create(LaunchTemplate=None, MixedInstancesPolicy=policy, **changes)


def launched(api, groups):
    found = (described(api, one) for one in groups.states())
    return Counter((one["InstanceType"], one.get("InstanceLifecycle", "on-demand")) for one in found)


def test_a_policy_shares_capacity_between_markets_and_prefers_its_first_type(api, groups):
    shares = {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 50}
    create(
        groups,
        [{"InstanceType": "t3.micro"}, {"InstanceType": "stead.tiny"}],
        InstancesDistribution=shares,
        DesiredCapacity=3,
    )
    shown = groups.shown()["MixedInstancesPolicy"]
    assert shown["LaunchTemplate"]["LaunchTemplateSpecification"].pop("LaunchTemplateId").startswith("lt-")
    assert shown == {
        "LaunchTemplate": {**TEMPLATE, "Overrides": [{"InstanceType": "t3.micro"}, {"InstanceType": "stead.tiny"}]},
        "InstancesDistribution": {
            "OnDemandAllocationStrategy": "prioritized",
            "SpotAllocationStrategy": "lowest-price",
            **shares,
        },
    }
    groups.up()
    assert launched(api, groups) == {("t3.micro", "on-demand"): 2, ("stead.tiny", "spot"): 1}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=4)
    groups.up()
    assert launched(api, groups) == {("t3.micro", "on-demand"): 3, ("stead.tiny", "spot"): 1}
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=1)
    groups.run()
    left = [described(api, one) for one, state in groups.states().items() if state == "InService"]
    assert [one["InstanceType"] for one in left] == ["t3.micro"]


def test_spot_instances_cost_no_more_than_the_policy_says(api, groups):
    shares = {
        "OnDemandBaseCapacity": 1,
        "OnDemandPercentageAboveBaseCapacity": 0,
        "SpotAllocationStrategy": "capacity-optimized-prioritized",
        "SpotMaxPrice": "0.002",
    }
    types = [{"InstanceType": "t3.micro"}, {"InstanceType": "stead.tiny"}]
    create(groups, types, InstancesDistribution=shares, DesiredCapacity=2)
    assert groups.shown()["MixedInstancesPolicy"]["InstancesDistribution"]["SpotMaxPrice"] == "0.002"
    groups.up()
    assert launched(api, groups) == {("t3.micro", "on-demand"): 1, ("stead.tiny", "spot"): 1}


def test_a_weight_is_how_much_of_the_capacity_an_instance_is(api, groups):
    create(groups, [{"InstanceType": "stead.tiny", "WeightedCapacity": "2"}], DesiredCapacity=4)
    groups.up()
    assert {one["WeightedCapacity"] for one in groups.shown()["Instances"]} == {"2"}
    assert len(groups.states()) == 2
    assert "capacity from 0 to 4." in " ".join(one["Cause"] for one in groups.activities())
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=2)
    groups.run()
    assert Counter(groups.states().values()) == {"InService": 1, "Terminating": 1}
    groups.run()
    assert Counter(groups.states().values()) == {"InService": 1, "Terminating": 1}


def test_types_are_found_by_what_is_required_and_another_template_may_launch_them(api, groups):
    api.ec2.create_launch_template(
        LaunchTemplateName="other",
        LaunchTemplateData={"ImageId": api.world.image_id, "UserData": "eA=="},
    )
    required = {"VCpuCount": {"Min": 1, "Max": 1}, "MemoryMiB": {"Min": 1}, "BurstablePerformance": "included"}
    other = {"LaunchTemplateName": "other", "Version": "$Latest"}
    create(groups, [{"InstanceRequirements": required, "LaunchTemplateSpecification": other}], DesiredCapacity=1)
    [one] = groups.up()
    data = api.ec2.describe_instance_attribute(InstanceId=one, Attribute="userData")
    assert data["UserData"]["Value"] == "eA=="
    [member] = groups.shown()["Instances"]
    assert member["LaunchTemplate"]["LaunchTemplateName"] == "other"


def test_what_one_type_has_no_room_for_another_takes(api, groups):
    room_for(api, 1)
    create(groups, [{"InstanceType": "t3.micro"}, {"InstanceType": "stead.tiny"}], DesiredCapacity=1)
    groups.up()
    assert launched(api, groups) == {("stead.tiny", "on-demand"): 1}
    assert {one["StatusCode"] for one in groups.activities()} == {"Successful"}


def test_policies_that_say_nothing_sensible_are_refused(api, groups):
    def refused(code, overrides=(), **changes):
        return api.refused(code, lambda: create(groups, overrides, **changes))

    weighted = [{"InstanceType": "t3.micro", "WeightedCapacity": "2"}, {"InstanceType": "stead.tiny"}]
    assert "WeightedCapacity" in refused("ValidationError", weighted)
    refused("ValidationError", [{"InstanceType": "t3.micro", "WeightedCapacity": "0"}])
    refused("ValidationError", [{"InstanceType": "t9.micro"}])
    refused("ValidationError", InstancesDistribution={"OnDemandAllocationStrategy": "random"})
    refused("ValidationError", InstancesDistribution={"SpotAllocationStrategy": "prioritized"})
    refused("ValidationError", InstancesDistribution={"OnDemandPercentageAboveBaseCapacity": 101})
    refused("ValidationError", InstancesDistribution={"OnDemandBaseCapacity": -1})
    refused("UnsupportedOperation", InstancesDistribution={"SpotInstancePools": 1})
    refused("ValidationError", InstancesDistribution={"SpotMaxPrice": "cheap"})
    refused("ValidationError", LaunchConfigurationName="small")
