"""Instance refreshes to another image never leave fewer guests answering than their healthy percentage."""

import time
from typing import Any

from tests.recovery.groups_on_rig.stage import Stage
from tests.recovery.groups_on_rig.watch import Group, Watch

NAME = "refresh"
WARMUP = 60  # seconds until a guest that was launched serves, on a machine without KVM beside others
SIZE = 3
CHECKPOINT_SECONDS = 30
SECONDS = 600.0


def prove(stage: Stage) -> None:
    """By ending first, with a checkpoint; by launching first; rolled back; and cancelled."""
    stage.template(NAME, "one")
    stage.template(NAME, "two")
    with stage.group(NAME, MinSize=SIZE, MaxSize=SIZE, DefaultInstanceWarmup=WARMUP) as (group, watch):
        stage.serve(group, watch, SIZE, 240)
        _refresh(
            stage,
            group,
            watch,
            "two",
            MinHealthyPercentage=66,
            CheckpointPercentages=[33, 100],
            CheckpointDelay=CHECKPOINT_SECONDS,
        )
        _refresh(stage, group, watch, "one", MinHealthyPercentage=100, MaxHealthyPercentage=140)
        _is_rolled_back(stage, group, watch)
        _is_cancelled(stage, group, watch)
        stage.tell(group)


def _start(stage: Stage, page: str, **preferences: Any) -> str:
    """Start a refresh to the version whose page says so; return its id."""
    version = {"one": "1", "two": "2"}[page]
    wanted = {"LaunchTemplate": {"LaunchTemplateName": NAME, "Version": version}}
    started = stage.scaling.start_instance_refresh(
        AutoScalingGroupName=NAME, DesiredConfiguration=wanted, Preferences=preferences
    )
    stage.note(f"a refresh to {page}: {preferences}")
    return str(started["InstanceRefreshId"])


def _shown(stage: Stage, refresh_id: str) -> Any:
    [shown] = stage.scaling.describe_instance_refreshes(AutoScalingGroupName=NAME, InstanceRefreshIds=[refresh_id])[
        "InstanceRefreshes"
    ]
    return shown


def _until(stage: Stage, refresh_id: str, status: str) -> Any:
    """Wait until a refresh has ended, say what was told on the way, and show that it ended as it should."""
    said = ""

    def ended() -> Any:
        nonlocal said
        shown = _shown(stage, refresh_id)
        now = f"{shown['Status']} {shown.get('PercentageComplete')} %: {shown.get('StatusReason', '')}"
        if now != said:
            stage.note(f"the refresh: {now}")
        said = now
        return shown if "EndTime" in shown else None

    shown = stage.wait(ended, "the refresh has ended", SECONDS)
    stage.show(f"it is {status}", holds=shown["Status"] == status)
    return shown


def _refresh(stage: Stage, group: Group, watch: Watch, page: str, **preferences: Any) -> None:
    before, began = set(group.states()), time.monotonic()
    refresh_id = _start(stage, page, **preferences)
    _until(stage, refresh_id, "Successful")
    stage.serve(group, watch, SIZE)
    stage.show("all are others", holds=not before & set(group.states()))
    stage.show(f"all are of image {page}", holds=set(_pages(group, watch)) == {page})
    _was_healthy(stage, watch, began, preferences["MinHealthyPercentage"])
    most = max(len(look.states) for look in watch.since(began))
    stage.note(f"at most {most} in the group, {time.monotonic() - began:.0f} s")
    if "CheckpointPercentages" in preferences:
        mixed = [look.at for look in watch.since(began) if sorted(look.pages.values()) == ["one", "one", "two"]]
        held = max(mixed) - min(mixed) if mixed else 0.0
        stage.show(f"one of three was replaced for {held:.0f} s", holds=held >= CHECKPOINT_SECONDS)


def _pages(group: Group, watch: Watch) -> list[str]:
    """What the instances in service say that answer."""
    latest = watch.latest
    return sorted(latest[one] for one, state in group.states().items() if state == "InService" and one in latest)


def _was_healthy(stage: Stage, watch: Watch, began: float, percentage: int) -> None:
    least, wanted = watch.least(began), -(-SIZE * percentage // 100)
    looks = len(watch.since(began))
    stage.show(f"at least {least} answered in each of {looks} looks, where {wanted} must", holds=least >= wanted)


def _is_rolled_back(stage: Stage, group: Group, watch: Watch) -> None:
    """Rolled back when the first is replaced: all are of the old image again, and never were too few."""
    began = time.monotonic()
    refresh_id = _start(stage, "two", MinHealthyPercentage=66)
    stage.wait(lambda: "two" in _pages(group, watch), "one of the new image answers", 180)
    stage.scaling.rollback_instance_refresh(AutoScalingGroupName=NAME)
    shown = _until(stage, refresh_id, "RollbackSuccessful")
    stage.note(f"told of the rollback: {shown.get('RollbackDetails')}")
    stage.serve(group, watch, SIZE)
    stage.show("all are of image one", holds=set(_pages(group, watch)) == {"one"})
    _was_healthy(stage, watch, began, 66)
    template = group.shown()["LaunchTemplate"]["Version"]
    stage.show(f"the group launches version {template}", holds=template == "1")


def _is_cancelled(stage: Stage, group: Group, watch: Watch) -> None:
    """Cancelled when the first is replaced: that one stays, and the group launches the old image again."""
    began = time.monotonic()
    refresh_id = _start(stage, "two", MinHealthyPercentage=66)
    stage.wait(lambda: "two" in _pages(group, watch), "one of the new image answers", 180)
    stage.scaling.cancel_instance_refresh(AutoScalingGroupName=NAME)
    _until(stage, refresh_id, "Cancelled")
    stage.serve(group, watch, SIZE)
    pages = _pages(group, watch)
    stage.show(f"what was replaced stays: {pages}", holds=set(pages) == {"one", "two"})
    _was_healthy(stage, watch, began, 66)
    template = group.shown()["LaunchTemplate"]["Version"]
    stage.show(f"the group launches version {template}", holds=template == "1")
