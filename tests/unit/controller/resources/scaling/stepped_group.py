"""The group web, whose steps are taken by hand: instances change at will, and launches are real but for their reading."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from stead_controller.db.tables import (
    Host,
    LifecycleAction,
    LifecycleHook,
    ScalingActivity,
    WarmPool,
)
from stead_controller.resources.scaling import group_step
from tests.support import rows
from tests.support.rows import NOW
from tests.unit.controller.resources.scaling.launch_ways import LaunchWays
from tests.unit.controller.resources.scaling.web_group import WebGroup

SECOND = timedelta(seconds=1)


class SteppedGroup(WebGroup):
    """The group, whose steps are taken by hand."""

    def __init__(self, run: Any, world: Any) -> None:
        super().__init__(run, world, health_grace=0)
        self.ways = LaunchWays(world.image_id)
        self.now: datetime = NOW

    def step(self, seconds: float = 1, **values: Any) -> None:
        """Let time pass, give the group other values, and have it take a step."""
        self.now += seconds * SECOND
        self.change(due=self.now, **values)
        self.run(group_step.run, self.world.cloud, self.ways.read, self.row.id, self.now)

    def become(self, state: str, *ids: str) -> None:
        """Have instances, or else those that come, in a state, and take a step."""
        for one in ids or [each for each, at in self.states().items() if at == "Pending"]:
            self.change_instance(one, state=state)
        self.step()

    def grow(self, desired: int) -> list[str]:
        """Want so many, and have those that are launched in service."""
        before = set(self.states())
        self.step(desired=desired)
        self.become("running")
        return sorted(set(self.states()) - before)

    def told(self) -> list[tuple[str, str, str]]:
        """Description, status and cause of what the group did, the first first; without the times of the causes."""
        query = select(ScalingActivity).order_by(ScalingActivity.started, ScalingActivity.description)
        found = self.run(lambda tx: list(tx.session.scalars(query)))
        return [(one.description, one.status, self.untimed(one.cause)) for one in found]

    def messages(self) -> list[str | None]:
        """Why what it did failed or was cancelled."""
        return list(self.run(lambda tx: tx.session.scalars(select(ScalingActivity.message)).all()))

    @staticmethod
    def untimed(cause: str) -> str:
        return "  ".join(part.partition("Z ")[2] or part for part in cause.split("  "))

    def hook(self, *, launching: bool) -> None:
        hook = {"name": f"h{launching}", "launching": launching, "heartbeat": 60, "default_result": "CONTINUE"}
        self.run(lambda tx: tx.session.add(LifecycleHook(group_id=self.row_of(tx).id, **hook)))

    def waits(self) -> list[str]:
        return list(self.run(lambda tx: tx.session.scalars(select(LifecycleAction.instance_id)).all()))

    def complete(self, result: str = "CONTINUE") -> None:
        self.run(lambda tx: tx.session.execute(update(LifecycleAction).values(result=result)) and None)
        self.step()

    def room(self, cpus: int) -> None:
        self.run(lambda tx: tx.session.execute(update(Host).values(**rows.offered({"cpus_free": cpus}))) and None)

    def pool(self, **values: Any) -> None:
        known = {"min_size": 0, "max_prepared": None, "state": "Running", "deleting": False, "failures": 0}
        self.run(lambda tx: tx.session.add(WarmPool(group_id=self.row_of(tx).id, **known | values)))

    def warm_pool(self) -> WarmPool | None:
        found: WarmPool | None = self.run(lambda tx: tx.session.get(WarmPool, self.row_of(tx).id))
        return found

    def balances_at(self) -> datetime | None:
        return self.row.balance_at

    def ec2(self, instance_id: str) -> str:
        return self.instance(instance_id).state


def ready(web: SteppedGroup, **values: Any) -> str:
    """An instance that is ready in a new warm pool, of a group of none."""
    web.pool(min_size=1, max_prepared=0, **values)
    web.step()
    [one] = web.states()
    web.change_instance(one, state="running")
    web.step()
    if values.get("state") == "Stopped":
        web.change_instance(one, state="stopped")
        web.step()
    assert web.states() == {one: f"Warmed:{values.get('state', 'Running')}"}
    return one
