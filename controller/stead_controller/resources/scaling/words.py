"""The sentences with which activities say what happened and why: AWS's own.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-verify-scaling-activity.html.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from stead_controller.resources.scaling.plan import Why

_TERMINATED: Final = "an instance was taken out of service in response to an EC2 health check indicating it has been"
_BECAUSE: Final = {
    Why.STOPPED: f"{_TERMINATED} terminated or stopped.",
    Why.IMPAIRED: "an instance was taken out of service in response to an EC2 instance status checks failure.",
    Why.USER_HEALTH: "an instance was taken out of service in response to a user health-check.",
    Why.LAUNCH_FAILED: f"{_TERMINATED} terminated or stopped.",
    Why.ABANDONED: "an instance was taken out of service in response to an abandoned lifecycle action.",
    Why.VOLUME: "an instance was taken out of service in response to EBS volume health check failure.",
    Why.OLD: "an instance was taken out of service in response to its maximum instance lifetime.",
    Why.REFRESH: "an instance was taken out of service in response to an instance refresh.",
    Why.DELETION: "an instance was taken out of service in response to the deletion of the AutoScalingGroup.",
}
_REMAINING: Final = "Waiting for remaining instances to be available. For example:"
COOLED: Final = (
    "an instance was taken out of the warm pool in response to a difference between desired and actual warm pool "
    "capacity."
)
POOL_DELETED: Final = "an instance was taken out of the warm pool in response to the deletion of the warm pool."
REPLACED: Final = "an instance was launched in response to an unhealthy instance needing to be replaced."
REFRESHED: Final = "an instance was launched in response to an instance refresh."
REFUSED: Final = "Launching EC2 instance failed."
ABANDONED: Final = "The lifecycle action of the instance was completed with ABANDON."
CUT_SHORT: Final = "The instance was terminated before this was over."


def warms_up(instance_id: str) -> str:
    """Say that an instance refresh waits until an instance is warm."""
    return f"Waiting for instances to warm up before continuing. For example: {instance_id} is warming up."


def is_pending(instance_id: str) -> str:
    """Say that an instance refresh waits until an instance is in service."""
    return f"{_REMAINING} {instance_id} has insufficient data to evaluate its health with Amazon EC2."


def is_protected(instance_id: str) -> str:
    """Say that an instance refresh waits for an instance that is protected from scaling in."""
    return f"{_REMAINING} {instance_id} is protected. Remove instance scale-in protection to continue."


def stands_by(instance_id: str) -> str:
    """Say that an instance refresh waits for an instance in standby."""
    return f"{_REMAINING} {instance_id} is in Standby. Return the instance to service to continue."


def never_in_service(reason: str) -> str:
    """Say that an instance ended before it was in service; `reason` is EC2's state reason."""
    told = "Instance became unhealthy while waiting for instance to be in InService state."
    return f"{told} Termination Reason: {reason}" if reason else told


def at(now: datetime, sentence: str) -> str:
    """Return a sentence with its time."""
    return f"At {now:%Y-%m-%dT%H:%M:%SZ} {sentence}"


def created(desired: int) -> str:
    """Say why a new group has this desired capacity."""
    return f"a user request created an AutoScalingGroup changing the desired capacity from 0 to {desired}."


def constrained(bounds: tuple[int, int, int], before: int) -> str:
    """Say why an update of the minimum, maximum and desired capacity changed the latter."""
    return _constrained("a user request", bounds, before)


def scheduled(bounds: tuple[int, int, int], before: int) -> str:
    """Say that a scheduled action changed the minimum, maximum and desired capacity."""
    return _constrained("a scheduled action", bounds, before)


def _constrained(who: str, bounds: tuple[int, int, int], before: int) -> str:
    least, most, desired = bounds
    return (
        f"{who} update of AutoScalingGroup constraints to min: {least}, max: {most}, desired: {desired} "
        f"changing the desired capacity from {before} to {desired}."
    )


def set_explicitly(before: int, desired: int) -> str:
    """Say that SetDesiredCapacity changed the desired capacity."""
    change = f"changing the desired capacity from {before} to {desired}."
    return f"a user request explicitly set group desired capacity {change}"


def by_policy(who: str, policy: str, before: int, desired: int) -> str:
    """Say that a policy changed the desired capacity, and who had it act."""
    return f"{who} policy {policy} changing the desired capacity from {before} to {desired}."


def grown(before: int, after: int) -> str:
    """Say that an instance was started to grow to the desired capacity."""
    return (
        "an instance was started in response to a difference between desired and actual capacity, increasing the "
        f"capacity from {before} to {after}."
    )


def balanced(present: Mapping[str, int]) -> str:
    """Say that an instance was started to balance zones that have so many each."""
    zones, counts = " ".join(present), " ".join(map(str, present.values()))
    return (
        f"availability zones {zones} had {counts} instances respectively. An instance was launched to aid in balancing "
        "the group's zones."
    )


def above_desired(zone: str) -> str:
    """Say why a group that balances its zones has more than it is to have."""
    return (
        f"instances were launched to balance instances in zones {zone} with other zones resulting in more than desired "
        "number of instances in the group."
    )


def shrunk(before: int, after: int) -> str:
    """Say that an instance ends to shrink to the desired capacity."""
    return (
        "an instance was taken out of service in response to a difference between desired and actual capacity, "
        f"shrinking the capacity from {before} to {after}."
    )


def warmed(before: int, after: int) -> str:
    """Say that an instance was started to fill a warm pool."""
    return (
        "an instance was started in response to a difference between desired and actual warm pool capacity, increasing "
        f"the warm pool capacity from {before} to {after}."
    )


def into_pool(instance_id: str) -> str:
    """Say that an instance is launched into a warm pool."""
    return f"Launching a new EC2 instance into warm pool: {instance_id}"


def from_pool(instance_id: str) -> str:
    """Say that an instance of a warm pool is taken into the group."""
    return f"Launching a new EC2 instance from warm pool: {instance_id}"


def returning(instance_id: str) -> str:
    """Say that an instance of the group returns to its warm pool."""
    return f"Returning EC2 instance to warm pool: {instance_id}"


def selected(instance_id: str) -> str:
    """Say that a termination policy has chosen an instance."""
    return f"instance {instance_id} was selected for termination."


def ended(why: Why) -> str:
    """Say why an instance ends that is no surplus."""
    return _BECAUSE[why]


def by_user(instance_id: str, how: str, before: int, after: int) -> str:
    """Say that a user moved an instance, and how that changed the desired capacity, if it did."""
    moved = f"instance {instance_id} was {how} in response to a user request"
    if before == after:
        return f"{moved}."
    change = "shrinking" if after < before else "increasing"
    return f"{moved}, {change} the capacity from {before} to {after}."
