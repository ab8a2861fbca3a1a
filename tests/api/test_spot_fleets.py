"""Fleets of Spot Instances, alone and beside others, and whom a fleet on demand interrupts."""

from sqlalchemy import select, update

from stead_controller.db.tables import Host, Instance
from tests.api.test_fleets import NO_ROOM, asked, described, failed, launched, spot_asked
from tests.api.test_launch_by_template import make
from tests.support import rows


def test_spot_instances_and_others_of_one_fleet(api):
    make(api)
    tags = [{"Key": "a", "Value": "b"}]
    answer = api.ec2.create_fleet(
        **spot_asked({"InstanceType": "t3.micro"}, {"InstanceType": "x9.huge"}, on_demand=1, spot=2),
        SpotOptions={"AllocationStrategy": "price-capacity-optimized", "InstanceInterruptionBehavior": "terminate"},
        TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": tags}],
    )
    assert {one["Lifecycle"]: len(one["InstanceIds"]) for one in answer["Instances"]} == {"on-demand": 1, "spot": 2}
    assert sorted(one["Lifecycle"] for one in answer["Errors"]) == ["on-demand", "spot"]
    requests = api.ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    [launched_spot] = [one["InstanceIds"] for one in answer["Instances"] if one["Lifecycle"] == "spot"]
    assert sorted(one["InstanceId"] for one in requests) == sorted(launched_spot)
    assert [one["Tags"] for one in requests] == [tags] * 2
    shown = described(api, answer["FleetId"])
    assert shown["TargetCapacitySpecification"] == {
        "TotalTargetCapacity": 3,
        "OnDemandTargetCapacity": 1,
        "SpotTargetCapacity": 2,
    }
    assert (shown["FulfilledCapacity"], shown["FulfilledOnDemandCapacity"]) == (3.0, 1.0)
    options = {"AllocationStrategy": "price-capacity-optimized", "InstanceInterruptionBehavior": "terminate"}
    assert shown["SpotOptions"] == options
    assert shown["Errors"] == answer["Errors"]
    assert len(shown["Instances"]) == 2


def test_more_of_one_market_than_was_asked_does_not_make_up_for_the_other(api):
    make(api)
    api.run(lambda tx: tx.session.execute(update(Host).values(**rows.offered({"cpus_free": 2}))))
    heavy = {"InstanceType": "t3.nano", "WeightedCapacity": 3.0}
    answer = api.ec2.create_fleet(**spot_asked(heavy, on_demand=1, spot=1))
    assert [one["Lifecycle"] for one in answer["Instances"]] == ["on-demand"]
    shown = described(api, answer["FleetId"])
    assert (shown["FulfilledCapacity"], shown["ActivityStatus"]) == (3.0, "error")


def test_what_is_the_default_of_a_target_and_which_spot_pool_is_first(api):
    make(api)
    pools = [{"InstanceType": "m5.large", "Priority": 1}, {"InstanceType": "t3.nano", "Priority": 2}]
    request = asked(*pools) | {"TargetCapacitySpecification": {"TotalTargetCapacity": 1}}
    for strategy, first in {
        None: "t3.nano",
        "lowest-price": "t3.nano",
        "capacity-optimized": "t3.nano",
        "price-capacity-optimized": "t3.nano",
        "capacity-optimized-prioritized": "m5.large",
    }.items():
        options = {} if strategy is None else {"SpotOptions": {"AllocationStrategy": strategy}}
        [made] = api.ec2.create_fleet(**request, **options)["Instances"]
        assert (made["Lifecycle"], made["InstanceType"]) == ("spot", first)


def test_a_template_with_a_market_is_of_no_fleet(api):
    make(api, InstanceMarketOptions={"MarketType": "spot"})
    for request in (asked(), spot_asked()):
        assert "InstanceMarketOptions" in api.refused("InvalidParameterValue", api.ec2.create_fleet, **request)


def interrupted(api):
    return api.run(lambda tx: set(tx.session.scalars(select(Instance.id).where(Instance.interruption.is_not(None)))))


def test_a_fleet_on_demand_interrupts_spot_instances_only_for_what_it_lacks(api):
    make(api)
    api.run(lambda tx: tx.session.execute(update(Host).values(**rows.offered({"cpus_free": 4}))))
    spot = api.ec2.create_fleet(**spot_asked({"InstanceType": "t3.nano"}, spot=2))["Instances"][0]["InstanceIds"]
    # Neither is there room for more Spot Instances, for which nobody has to go.
    answer = api.ec2.create_fleet(**spot_asked({"InstanceType": "t3.nano"}))
    assert failed(answer) == {"t3.nano": NO_ROOM}
    assert interrupted(api) == set()
    # Of both pools one instance only is missing: only the first has others end, and only its failure says so.
    answer = api.ec2.create_fleet(**asked({"InstanceType": "t3.nano"}, {"InstanceType": "t3.micro"}))
    assert [one["ErrorCode"] for one in answer["Errors"]] == [NO_ROOM] * 2
    assert ["two minutes" in one["ErrorMessage"] for one in answer["Errors"]] == [True, False]
    assert len(interrupted(api)) == 1
    assert interrupted(api) < set(spot)


def test_a_fleet_that_gets_all_interrupts_nobody(api):
    make(api)
    api.run(lambda tx: tx.session.execute(update(Host).values(**rows.offered({"cpus_free": 6}))))
    api.ec2.create_fleet(**spot_asked({"InstanceType": "t3.nano"}, spot=2))
    options = {"OnDemandOptions": {"AllocationStrategy": "prioritized"}}
    pools = [{"InstanceType": "m5.xlarge", "Priority": 1}, {"InstanceType": "t3.nano", "Priority": 2}]
    answer = api.ec2.create_fleet(**asked(*pools, **options))
    assert launched(answer) == {"t3.nano": 1}
    [error] = answer["Errors"]
    assert "two minutes" not in error["ErrorMessage"]
    assert interrupted(api) == set()
