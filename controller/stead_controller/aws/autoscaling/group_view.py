"""Groups and their instances as Auto Scaling shows them."""

import json
from typing import Any

from stead_controller.aws.call import Call, Result
from stead_controller.request.zones import zone_ids
from stead_controller.resources.scaling import groups
from stead_controller.resources.scaling.group_metrics import GRANULARITY
from stead_controller.resources.scaling.groups import ShownGroup, ShownMember, ShownPool, ShownRow, ShownTag

_TYPE = "auto-scaling-group"


def group_view(call: Call, shown: ShownGroup, *, with_instances: bool) -> Result:
    """Show a group."""
    row = shown.row
    members = shown.members if with_instances else ()
    return {
        "AutoScalingGroupName": row.name,
        "AutoScalingGroupARN": groups.arn_of(call.cloud, row.account_id, row.id, row.name),
        **json.loads(row.launch),
        "MinSize": row.min_size,
        "MaxSize": row.max_size,
        "DesiredCapacity": row.desired,
        "DefaultCooldown": row.cooldown,
        "AvailabilityZones": row.zones,
        "LoadBalancerNames": [],
        "TargetGroupARNs": [],
        "HealthCheckType": row.health_type,
        "HealthCheckGracePeriod": row.health_grace,
        "Instances": [instance_view(call, member) for member in members],
        "CreatedTime": row.created,
        "SuspendedProcesses": [
            {"ProcessName": name, "SuspensionReason": reason} for name, reason in sorted(row.suspended.items())
        ],
        "PlacementGroup": row.placement_group,
        "VPCZoneIdentifier": ",".join(row.subnets),
        "EnabledMetrics": [{"Metric": name, "Granularity": GRANULARITY} for name in shown.metrics],
        "Status": "Delete in progress" if row.deleting else None,
        "Tags": [tag_view(tag, row.name) for tag in shown.tags],
        "TerminationPolicies": row.termination_policies,
        "NewInstancesProtectedFromScaleIn": row.protect_new,
        "DefaultInstanceWarmup": row.warmup,
        "Context": row.context,
        "MaxInstanceLifetime": row.max_lifetime,
        "InstanceMaintenancePolicy": _maintenance(row),
        "CapacityRebalance": False,
        "WarmPoolConfiguration": None if shown.pool is None else warm_pool_view(shown.pool),
        "WarmPoolSize": None if shown.pool is None else shown.warm,
        "TrafficSources": [],
    }


def _maintenance(row: ShownRow) -> dict[str, int] | None:
    if row.min_healthy is None or row.max_healthy is None:
        return None
    return {"MinHealthyPercentage": row.min_healthy, "MaxHealthyPercentage": row.max_healthy}


def warm_pool_view(pool: ShownPool) -> dict[str, Any]:
    """Show how a warm pool is set."""
    return {
        "MaxGroupPreparedCapacity": pool.max_prepared,
        "MinSize": pool.min_size,
        "PoolState": pool.state,
        "Status": "PendingDelete" if pool.deleting else None,
        "InstanceReusePolicy": None if pool.reuse is None else {"ReuseOnScaleIn": pool.reuse},
    }


def instance_view(call: Call, row: ShownMember) -> dict[str, Any]:
    """Show an instance of a group."""
    template = None
    if row.template_id is not None:
        template = {
            "LaunchTemplateId": row.template_id,
            "LaunchTemplateName": row.template_name,
            "Version": str(row.template_version),
        }
    return {
        "InstanceId": row.instance_id,
        "InstanceType": row.instance_type,
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": zone_ids(call.cloud).get(row.zone),
        "LifecycleState": row.lifecycle_state,
        "HealthStatus": "Healthy" if row.healthy else "Unhealthy",
        "LaunchConfigurationName": row.configuration,
        "LaunchTemplate": template,
        "ProtectedFromScaleIn": row.protected,
        "WeightedCapacity": str(row.weight) if row.weight > 1 else None,
    }


def tag_view(tag: ShownTag, group: str) -> dict[str, Any]:
    """Show a tag of a group."""
    return {
        "ResourceId": group,
        "ResourceType": _TYPE,
        "Key": tag.key,
        "Value": tag.value,
        "PropagateAtLaunch": tag.propagate,
    }
