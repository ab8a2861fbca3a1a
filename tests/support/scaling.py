"""Groups of Auto Scaling over a database without hosts: the loop is run by hand, and instances change at will."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import update

from stead_controller.aws.autoscaling import launch
from stead_controller.clock import now
from stead_controller.db.tables import Instance
from stead_controller.resources.scaling import due_groups
from stead_controller.workflows.scaling_groups import ScalingGroups

NAME: Final = "web"


class Groups:
    """The first tenant's groups; a test may add to `now`."""

    def __init__(self, api: Any) -> None:
        """Take the endpoint and make a template."""
        self.api = api
        self.now: datetime = now()
        self.client = api.client(api.world.one, "autoscaling")
        api.ec2.create_launch_template(
            LaunchTemplateName="web",
            LaunchTemplateData={"ImageId": api.world.image_id, "InstanceType": "stead.tiny"},
        )
        self.loop = ScalingGroups(api.database, api.world.cloud, launch.read, lambda: self.now)

    def create(self, **changes: Any) -> None:
        """Make a group of at most four instances."""
        asked = {
            "AutoScalingGroupName": NAME,
            "LaunchTemplate": {"LaunchTemplateName": "web", "Version": "$Latest"},
            "MinSize": 0,
            "MaxSize": 4,
            "AvailabilityZones": ["us-east-1a"],
        }
        given = {name: value for name, value in (asked | changes).items() if value is not None}
        self.client.create_auto_scaling_group(**given)

    def run(self) -> None:
        """Do all that groups have to do now, which is later than all before."""
        self.now += timedelta(milliseconds=1)
        self.api.run(due_groups.wake_all, self.now)
        asyncio.run(self.loop.run_due())

    def become(self, state: str, *ids: str, **values: Any) -> None:
        """Change the state of instances, those of the group if none is named, and let the group see it."""
        wanted = ids or tuple(self.states())
        change = update(Instance).where(Instance.id.in_(wanted)).values(state=state, **values)
        self.api.run(lambda tx: tx.session.execute(change))
        self.run()

    def up(self) -> list[str]:
        """Launch what is to be launched, have it run, and give the ids of what is in service."""
        self.run()
        pending = [one for one, state in self.states().items() if state == "Pending"]
        if pending:
            self.become("running", *pending)
        return [one for one, state in self.states().items() if state == "InService"]

    def shown(self, name: str = NAME) -> Any:
        """The group as it is described."""
        [found] = self.client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return found

    def states(self, name: str = NAME) -> dict[str, str]:
        """The lifecycle states of its instances."""
        return {one["InstanceId"]: one["LifecycleState"] for one in self.shown(name)["Instances"]}

    def warm(self) -> dict[str, str]:
        """The lifecycle states of the instances in its warm pool."""
        found = self.call(self.client.describe_warm_pool)["Instances"]
        return {one["InstanceId"]: one["LifecycleState"] for one in found}

    def activities(self, **asked: Any) -> Any:
        """What it did, the latest first."""
        return self.client.describe_scaling_activities(**asked)["Activities"]

    def call(self, function: Callable[..., Any], **asked: Any) -> Any:
        """Call a function about the group."""
        return function(AutoScalingGroupName=NAME, **asked)
