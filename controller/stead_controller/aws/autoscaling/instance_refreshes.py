"""Instance refreshes: started, cancelled, rolled back and described."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.autoscaling import launch, warm_pools
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.scaling import groups, instance_refreshes
from stead_controller.resources.scaling.instance_refreshes import Preferences, RefreshRequest, ShownRefresh
from stead_controller.resources.scaling.launches import Wanted

_GROUP: Final = "AutoScalingGroupName"
_MOST: Final = 100
_DEFAULT: Final = 50
_PROTECTED: Final = ("Refresh", "Ignore", "Wait")
_STANDBY: Final = ("Ignore", "Wait")


@operation("StartInstanceRefresh", service="autoscaling")
def start_instance_refresh(call: Call, params: Params) -> Result:
    """Replace the instances of a group, some after the others."""
    if params.get("Strategy", "Rolling") != "Rolling":
        raise Unsupported(f"The Strategy {params['Strategy']} is not supported: Rolling is.")
    configuration = params.get("DesiredConfiguration")
    wanted = launch.stored(call.tx, call.caller, configuration) if configuration else None
    if configuration and wanted is None:
        raise InvalidParameter("The DesiredConfiguration names neither a LaunchTemplate nor a MixedInstancesPolicy.")
    request = RefreshRequest(_preferences(params.get("Preferences", {})), wanted)
    made = instance_refreshes.start(call.tx, call.caller, params[_GROUP], request, call.now)
    if wanted is not None:
        group = groups.find(call.tx, call.caller, params[_GROUP])
        subnet = group.subnets[0] if group.subnets else None
        zone = None if subnet is not None else group.zones[0]
        launch.check(call, Wanted(wanted, zone, subnet, placement_group=group.placement_group))
        warm_pools.check_launch(call, params[_GROUP])
    return {"InstanceRefreshId": made}


@operation("CancelInstanceRefresh", service="autoscaling")
def cancel_instance_refresh(call: Call, params: Params) -> Result:
    """End a refresh where it is."""
    waits = params.get("WaitForTransitioningInstances", True)
    made = instance_refreshes.cancel(call.tx, call.caller, params[_GROUP], call.now, waits=waits)
    return {"InstanceRefreshId": made}


@operation("RollbackInstanceRefresh", service="autoscaling")
def rollback_instance_refresh(call: Call, params: Params) -> Result:
    """Let a refresh replace what it has launched by what was there."""
    return {"InstanceRefreshId": instance_refreshes.roll_back(call.tx, call.caller, params[_GROUP], call.now)}


@operation("DescribeInstanceRefreshes", service="autoscaling", writes=False)
def describe_instance_refreshes(call: Call, params: Params) -> Result:
    """List the refreshes of a group, the latest first."""
    page = describe.page(
        call, params, "DescribeInstanceRefreshes", size="MaxRecords", at_least=1, at_most=_MOST, default=_DEFAULT
    )
    found = instance_refreshes.describe(
        call.tx,
        call.caller,
        params[_GROUP],
        params.get("InstanceRefreshIds", ()),
        after=page.after,
        limit=page.fetch or _DEFAULT,
    )
    shown, token = page.cut(found, lambda one: (one.started.isoformat(), one.id))
    return {"InstanceRefreshes": [_view(one, params[_GROUP]) for one in shown], "NextToken": token}


def _preferences(given: Params) -> Preferences:
    if given.get("AlarmSpecification", {}).get("Alarms"):
        raise Unsupported("The parameter AlarmSpecification is not supported: no alarm ends an instance refresh.")
    chosen: dict[str, Any] = {
        "healthy": (given.get("MinHealthyPercentage"), given.get("MaxHealthyPercentage")),
        "warmup": given.get("InstanceWarmup"),
        "checkpoints": given.get("CheckpointPercentages"),
        "delay": given.get("CheckpointDelay"),
        "skip_matching": given.get("SkipMatching"),
        "auto_rollback": given.get("AutoRollback"),
        "protected": _one_of(given, "ScaleInProtectedInstances", _PROTECTED),
        "standby": _one_of(given, "StandbyInstances", _STANDBY),
        "bake": given.get("BakeTime"),
    }
    return Preferences(**{name: value for name, value in chosen.items() if value is not None})


def _one_of(given: Params, name: str, known: tuple[str, ...]) -> str | None:
    value: str | None = given.get(name)
    if value is not None and value not in known:
        raise Unsupported(f"The {name} {value} is not one of {', '.join(known)}.")
    return value


def _view(row: ShownRefresh, group: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "InstanceRefreshId": row.id,
        "AutoScalingGroupName": group,
        "Status": row.status,
        "StatusReason": row.reason or None,
        "StartTime": row.started,
        "EndTime": row.ended,
        "PercentageComplete": instance_refreshes.percentage(row),
        "InstancesToUpdate": row.left + row.warm_left,
        "ProgressDetails": _details(
            None if row.targets is None else instance_refreshes.live_progress(row),
            instance_refreshes.progress_of(row.warm_total, row.warm_left) if row.warm_total else None,
        ),
        "Preferences": _preferences_view(Preferences.read(row.preferences)),
        "DesiredConfiguration": None if row.wanted is None else json.loads(row.wanted),
        "Strategy": "Rolling",
    }
    if row.rollback is not None:
        told = json.loads(row.rollback)
        shown["RollbackDetails"] = {
            "RollbackReason": told["reason"],
            "RollbackStartTime": datetime.fromisoformat(told["started"]),
            "PercentageCompleteOnRollback": told["percentage"],
            "InstancesToUpdateOnRollback": told["left"],
            "ProgressDetailsOnRollback": _details(told.get("live"), told.get("warm")),
        }
    return shown


def _details(live: Sequence[int] | None, warm: Sequence[int] | None) -> dict[str, Any]:
    """Show how many percent are replaced and how many instances are left, in the group and in its warm pool."""
    told = {"LivePoolProgress": live or (0, 0), "WarmPoolProgress": warm}
    return {
        name: {"PercentageComplete": one[0], "InstancesToUpdate": one[1]}
        for name, one in told.items()
        if one is not None
    }


def _preferences_view(chosen: Preferences) -> dict[str, Any]:
    least, most = chosen.healthy
    return {
        "MinHealthyPercentage": least,
        "MaxHealthyPercentage": most,
        "InstanceWarmup": chosen.warmup,
        "CheckpointPercentages": list(chosen.checkpoints) or None,
        "CheckpointDelay": chosen.delay if chosen.checkpoints else None,
        "SkipMatching": chosen.skip_matching,
        "AutoRollback": chosen.auto_rollback,
        "ScaleInProtectedInstances": chosen.protected,
        "StandbyInstances": chosen.standby,
        "BakeTime": chosen.bake,
    }
