"""How long a group takes to follow its load: from a guest's first busy second until further guests serve.

    ./stead up && eval "$(./stead env)" && .venv/bin/python -m tests.bench.scale_out [--most 3] [--back]

A group of one guest tracks a target of processor time, measured each ten seconds. The guest says on its console that it
is busy, and burns its processor; each further guest says there that it serves, as the first thing of its user data. With
`--back` the guest is idle after a while, and the group must become one guest again, a quarter of an hour later. AWS publishes 109 s for a policy
with metrics of 20 s: https://aws.amazon.com/blogs/compute/faster-scaling-with-amazon-ec2-auto-scaling-target-tracking/.
"""

import argparse
import base64
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3

PUBLISHED: Final = 109.0  # seconds, by AWS for its own
TARGET: Final = 10.0  # percent: on a busy machine a guest gets little more
SECONDS: Final = 300.0
BACK_SECONDS: Final = 1500.0  # as in AWS, the load must be low for a quarter of an hour
IDLE_BEFORE: Final = 15  # seconds of rest, so that the load begins after the first measurements
BUSY_FOR: Final = 90
REST: Final = ":"  # what the busy guest does between two looks at its clock
_GRAIN: Final = 0.1
_NAME: Final = "bench-scale-out"
_SERVES, _BUSY = "this guest serves", "this guest is busy"


def _burns(seconds: int) -> str:
    until = f"end=$(($(date +%s) + {seconds})); while [ $(date +%s) -lt $end ]; do {REST}; done"
    return (
        f"#!/bin/sh\necho '{_SERVES}' >/dev/console\n(sleep {IDLE_BEFORE}; echo '{_BUSY}' >/dev/console; {until}) &\n"
    )


class Bench:
    """A cloud on this machine, and a group in it."""

    def __init__(self, state_dir: Path, most: int) -> None:
        self._consoles = state_dir / "agent/consoles"
        self._most = most
        self._ec2: Any = boto3.client("ec2")
        self._scaling: Any = boto3.client("autoscaling")
        self._policy = ""

    def begin(self) -> str:
        """Make the group with its busy guest, and let the guests after that be idle; give that guest's id."""
        images = self._ec2.describe_images(Filters=[{"Name": "name", "Values": ["stead-micro*"]}])["Images"]
        image = max(images, key=lambda each: each["CreationDate"])["ImageId"]
        data: dict[str, Any] = {"ImageId": image, "InstanceType": "stead.small"}
        busy = {**data, "UserData": _encoded(_burns(BUSY_FOR))}
        self._ec2.create_launch_template(LaunchTemplateName=_NAME, LaunchTemplateData=busy)
        idle = {**data, "UserData": _encoded(f"#!/bin/sh\necho '{_SERVES}' >/dev/console\n")}
        self._ec2.create_launch_template_version(LaunchTemplateName=_NAME, LaunchTemplateData=idle)
        template = {"LaunchTemplateName": _NAME, "Version": "1"}
        self._scaling.create_auto_scaling_group(
            AutoScalingGroupName=_NAME,
            LaunchTemplate=template,
            MinSize=1,
            MaxSize=self._most,
            AvailabilityZones=[self._ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]],
            DefaultInstanceWarmup=0,
        )
        [first] = _wait(self.members, "the first guest is launched")
        self._scaling.update_auto_scaling_group(AutoScalingGroupName=_NAME, LaunchTemplate={**template, "Version": "2"})
        metric = {"PredefinedMetricType": "ASGAverageCPUUtilizationHighResolution"}
        self._scaling.put_scaling_policy(
            AutoScalingGroupName=_NAME,
            PolicyName="follow",
            PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration={"PredefinedMetricSpecification": metric, "TargetValue": TARGET},
        )
        return first

    def end(self) -> None:
        """Remove what was made."""
        self._scaling.delete_auto_scaling_group(AutoScalingGroupName=_NAME, ForceDelete=True)
        _wait(lambda: self._group() is None, "the group is gone")
        self._ec2.delete_launch_template(LaunchTemplateName=_NAME)

    def members(self) -> list[str]:
        """The ids of the group's instances that are not ending."""
        group = self._group()
        states = group["Instances"] if group is not None else ()
        return [each["InstanceId"] for each in states if not each["LifecycleState"].startswith("Terminat")]

    def says(self, instance_id: str, words: str) -> bool:
        """Tell whether a guest has said something on its console."""
        console = self._consoles / instance_id / "1.log"
        return console.exists() and f"{words}\r\n".encode() in console.read_bytes()

    def _group(self) -> Any:
        groups = self._scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[_NAME])["AutoScalingGroups"]
        return groups[0] if groups else None


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _wait[T](ask: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """Wait until an answer is true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(_GRAIN)  # the poll of a measurement
    raise SystemExit(f"{what}: not within {seconds:.0f} s")


def main() -> int:
    """Measure, and print the figures; 1 when AWS's own is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=3, help="guests of the group")
    parser.add_argument("--back", action="store_true", help="wait until it is one guest again")
    parser.add_argument("--state-dir", type=Path, default=Path(os.environ.get("STEAD_STATE_DIR", "/var/lib/stead")))
    options = parser.parse_args()
    bench = Bench(options.state_dir, options.most)
    first = bench.begin()
    _wait(lambda: bench.says(first, _BUSY), "the first guest is busy")
    began = time.monotonic()
    more = _wait(lambda: [each for each in bench.members() if each != first], "the group grows")
    asked = time.monotonic() - began
    _wait(lambda: any(bench.says(each, _SERVES) for each in more), "a further guest serves")
    serves = time.monotonic() - began
    _wait(lambda: len(bench.members()) == options.most, "the group has as many guests as it may")
    verdict = "ok" if serves <= PUBLISHED else "MISSED"
    print(
        f"busy until launched: {asked:.1f} s; until it serves: {serves:.1f} s (AWS publishes {PUBLISHED:.0f})  {verdict}"
    )
    if options.back:
        _wait(lambda: len(bench.members()) == 1, "the group is one guest again", BACK_SECONDS)
        print(f"back to one: {time.monotonic() - began - BUSY_FOR:.1f} s after the load ended")
    bench.end()
    return int(serves > PUBLISHED)


if __name__ == "__main__":
    sys.exit(main())
