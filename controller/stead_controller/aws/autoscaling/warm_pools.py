"""Warm pools: made, changed, shown and deleted."""

import json
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.autoscaling import launch
from stead_controller.aws.autoscaling.group_view import instance_view, warm_pool_view
from stead_controller.aws.autoscaling.mixed import POLICY
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidCombination, InvalidParameter
from stead_controller.resources.scaling import groups, warm_pools
from stead_controller.resources.scaling.launches import Wanted
from stead_controller.resources.scaling.warm_pools import HIBERNATED, PoolRequest

_GROUP: Final = "AutoScalingGroupName"
_MOST: Final = 50


@operation("PutWarmPool", service="autoscaling")
def put_warm_pool(call: Call, params: Params) -> Result:
    """Make or change the warm pool of a group."""
    asked = PoolRequest(
        min_size=params.get("MinSize"),
        max_prepared=params.get("MaxGroupPreparedCapacity"),
        state=params.get("PoolState"),
        reuse=params.get("InstanceReusePolicy", {}).get("ReuseOnScaleIn"),
    )
    warm_pools.put(call.tx, call.caller, params[_GROUP], asked, call.now)
    check_launch(call, params[_GROUP])
    return {}


@operation("DescribeWarmPool", service="autoscaling", writes=False)
def describe_warm_pool(call: Call, params: Params) -> Result:
    """Show the warm pool of a group, and list its instances."""
    page = describe.page(call, params, "DescribeWarmPool", size="MaxRecords", at_least=1, at_most=_MOST, default=_MOST)
    after = page.after[0] if page.after else ""
    pool, found = warm_pools.describe(call.tx, call.caller, params[_GROUP], after=after, limit=page.fetch or _MOST)
    shown, token = page.cut(found, lambda one: (one.instance_id,))
    return {
        "WarmPoolConfiguration": None if pool is None else warm_pool_view(pool),
        "Instances": [instance_view(call, row) for row in shown],
        "NextToken": token,
    }


@operation("DeleteWarmPool", service="autoscaling")
def delete_warm_pool(call: Call, params: Params) -> Result:
    """Delete the warm pool of a group."""
    force = params.get("ForceDelete", False)
    warm_pools.remove(call.tx, call.caller, params[_GROUP], call.now, force=force)
    return {}


def check_launch(call: Call, name: str) -> None:
    """Raise InvalidParameter or InvalidCombination where a group with a warm pool launches what no pool can have."""
    group = groups.find(call.tx, call.caller, name)
    pool = warm_pools.of(call.tx, group.id)
    if pool is None:
        return
    if POLICY in json.loads(group.launching):
        raise InvalidCombination(
            "You cannot use a MixedInstancesPolicy and a warm pool with the same Auto Scaling group."
        )
    subnet = group.subnets[0] if group.subnets else None
    wanted = Wanted(group.launching, None if subnet else group.zones[0], subnet)
    for way in launch.read(call.tx, call.caller, wanted).pools:
        if way.request is not None and way.request.spot:
            raise InvalidCombination(
                "You cannot add a warm pool to an Auto Scaling group that launches Spot Instances."
            )
        if way.request is not None and pool.state == HIBERNATED and not way.request.hibernation:
            raise InvalidParameter(
                "The PoolState Hibernated needs a launch template with HibernationOptions that are Configured."
            )
