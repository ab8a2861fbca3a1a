"""A group follows the load of its guests by target tracking, from one to three and back."""

import time

from tests.recovery.groups_on_rig.stage import Stage

NAME = "load"
TARGET = 10.0  # percent: on a busy machine a guest gets little more
REST_SECONDS = 45
BUSY_SECONDS = 120
BACK_SECONDS = 1500.0  # as in AWS, the load must be low for a quarter of an hour
CALM_SECONDS = 75.0  # after it is one again, in which nothing may change
_BURNS = "setsid sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 & echo $!"


def prove(stage: Stage) -> None:
    """One guest burns its processor for a while."""
    stage.template(NAME, "one")
    with stage.group(NAME, MinSize=1, MaxSize=3, DefaultInstanceWarmup=0) as (group, watch):
        [first] = stage.serve(group, watch, 1)
        login = stage.user.connect(first)
        time.sleep(REST_SECONDS)  # so that its boot is not taken for a load
        metric = {"PredefinedMetricType": "ASGAverageCPUUtilizationHighResolution"}
        stage.scaling.put_scaling_policy(
            AutoScalingGroupName=NAME,
            PolicyName="follow",
            PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration={"PredefinedMetricSpecification": metric, "TargetValue": TARGET},
        )
        time.sleep(REST_SECONDS)  # so that its load begins after the first measurements
        process, began = login.run(_BURNS).strip(), time.monotonic()
        stage.wait(lambda: len(group.states()) > 1, "the group grows", 240)
        stage.wait(lambda: len(watch.latest) > 1, "a further guest serves", 240)
        stage.note(f"{time.monotonic() - began:.1f} s from the first busy second until a further guest serves")
        stage.serve(group, watch, 3)
        time.sleep(max(0.0, BUSY_SECONDS - (time.monotonic() - began)))  # the load's length is its content
        if first in group.states():
            login.run(f"kill {process}")
        ended = time.monotonic()
        stage.note("the load ends")
        stage.serve(group, watch, 1, BACK_SECONDS)
        stage.note(f"{time.monotonic() - ended:.1f} s from the end of the load until it is one guest again")
        time.sleep(CALM_SECONDS)  # that nothing happens meanwhile is the content
        told = stage.tell(group)
        sizes = watch.sizes(began)
        stage.show(
            f"it grew and shrank once: {sizes}",
            holds=sizes == sorted(sizes[: sizes.index(3) + 1]) + sorted(sizes[sizes.index(3) + 1 :], reverse=True),
        )
        stage.show("five activities", holds=len(told) == 5)
        words = ("monitor alarm TargetTracking-load-AlarmHigh-", "monitor alarm TargetTracking-load-AlarmLow-")
        for each in words:
            stage.show(f"{each}… is told as a cause", holds=any(each in one["Cause"] for one in told))
