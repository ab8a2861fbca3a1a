"""A warm pool serves sooner than a launch, and guests complete the hooks of their group with their own role."""

import time

from tests.recovery.groups_on_rig.stage import ROLE, Stage
from tests.recovery.groups_on_rig.watch import Group, Watch

NAME = "pool"
POOLS = ("Stopped", "Hibernated", "Running")
SECONDS = 240.0
_HEARTBEAT = 600  # seconds: an end by the heartbeat would be seen


def prove(stage: Stage) -> None:
    """A cold launch, one of each pool, and all of them with hooks that guests complete."""
    stage.make_role()
    script = f"echo {NAME} >/srv/group; touch /srv/hooks"
    more = {"IamInstanceProfile": {"Name": ROLE}, "HibernationOptions": {"Configured": True}}
    [image] = stage.ec2.describe_images(ImageIds=[stage.images["one"]])["Images"]
    disk = {"DeviceName": image["RootDeviceName"], "Ebs": {"Encrypted": True}}
    stage.template(NAME, "one", script, BlockDeviceMappings=[disk], **more)
    hooks = [
        {
            "LifecycleHookName": name,
            "LifecycleTransition": f"autoscaling:EC2_INSTANCE_{kind}",
            "HeartbeatTimeout": _HEARTBEAT,
            "DefaultResult": result,
        }
        for name, kind, result in (("up", "LAUNCHING", "ABANDON"), ("down", "TERMINATING", "CONTINUE"))
    ]
    with stage.group(NAME, MaxSize=3, LifecycleHookSpecificationList=hooks) as (group, watch):
        _grows(stage, group, watch, 1, "a cold launch")
        for pool in POOLS:
            _grows_from(stage, group, watch, pool)
        group.want(0)
        stage.wait(lambda: not group.states(), "all have ended, by hooks that they completed", SECONDS)
        told = stage.tell(group)
        stage.show("all of it succeeded", holds={one["StatusCode"] for one in told} == {"Successful"})


def _grows_from(stage: Stage, group: Group, watch: Watch, pool: str) -> None:
    """Have one ready in a pool, grow by it, and shrink."""
    chosen = {"PoolState": pool, "MinSize": 0, "MaxGroupPreparedCapacity": 2}  # not refilled while one of it starts
    stage.scaling.put_warm_pool(AutoScalingGroupName=NAME, **chosen)
    stage.wait(lambda: [*group.warm().values()] == [f"Warmed:{pool}"], f"one is ready, {pool}", SECONDS)
    ready = [*group.warm()]
    new = _grows(stage, group, watch, 2, f"one of the pool, {pool}")
    stage.show("it is of the pool", holds=[new] == ready)
    stage.scaling.delete_warm_pool(AutoScalingGroupName=NAME, ForceDelete=True)
    stage.wait(lambda: "WarmPoolConfiguration" not in group.shown(), "the pool is deleted", SECONDS)
    group.want(1)
    began = time.monotonic()
    stage.wait(lambda: len(group.states()) == 1, "one has ended, by a hook that it completed", SECONDS)
    stage.show("not by the heartbeat", holds=time.monotonic() - began < _HEARTBEAT / 2)
    stage.serve(group, watch, 1)


def _grows(stage: Stage, group: Group, watch: Watch, count: int, how: str) -> str:
    """Grow by one; say how long that took until it was in service, and until it answered; return its id."""
    before, began = set(group.states()), time.monotonic()
    group.want(count)

    def there() -> str | None:
        new = [one for one, state in group.states().items() if state == "InService" and one not in before]
        return new[0] if new else None

    new = stage.wait(there, f"{how}: it is in service", SECONDS)
    in_service = time.monotonic() - began

    def answers() -> float | None:
        return next((look.at for look in watch.since(began) if new in look.pages), None)

    answered = stage.wait(answers, "it answers", 60) - began
    stage.note(f"{how}: {answered:.1f} s until it answers, {in_service:.1f} s until it is in service")
    stage.show("it is not in service before it answers", holds=answered <= in_service + 1.5)
    return new
