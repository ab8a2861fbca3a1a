"""A group called web of the first tenant, whose instances are added in any state: each call is one transaction."""

from collections.abc import Callable
from typing import Any

from stead_controller.db.tables import Instance, ScalingActivity, ScalingGroup, ScalingInstance
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from tests.support import rows
from tests.support.rows import World


class WebGroup:
    """The group, with at most ten instances; `run` calls a function in a transaction."""

    def __init__(self, run: Callable[..., Any], world: World, **changes: Any) -> None:
        """Add the group."""
        self.run, self.world = run, world
        self.caller: Caller = world.one.caller
        self._number = 0
        run(lambda tx: tx.session.add(rows.scaling_group(self.caller.account_id, **changes)))

    @property
    def row(self) -> ScalingGroup:
        """The group's row as it is now."""
        found: ScalingGroup = self.run(self.row_of)
        return found

    @staticmethod
    def row_of(tx: Transaction) -> ScalingGroup:
        """The group's row in a transaction."""
        return tx.session.query(ScalingGroup).filter_by(name="web").one()

    def change(self, **values: Any) -> None:
        """Give the group other values."""
        self.run(lambda tx: tx.session.query(ScalingGroup).filter_by(name="web").update(values))

    def add(self, state: str = "InService", **changes: Any) -> str:
        """Add a running instance that is in the group in a lifecycle state; the changes are of its row there."""
        made = self.own()

        def do(tx: Transaction) -> None:
            tx.session.add(rows.scaling_instance(self.row_of(tx), made, lifecycle_state=state, **changes))

        self.run(do)
        return made

    def own(self, **changes: Any) -> str:
        """Add an instance of the tenant that is in no group."""
        self._number += 1
        number, tenant = self._number, self.world.one
        made: str = self.run(lambda tx: rows.launch(tx, self.world, tenant, number=number, **changes).id)
        return made

    def member(self, instance_id: str) -> ScalingInstance | None:
        """An instance's row in the group, None if it is in none."""
        found: ScalingInstance | None = self.run(lambda tx: tx.session.get(ScalingInstance, instance_id))
        return found

    def change_instance(self, instance_id: str, **values: Any) -> None:
        """Give an instance other values in EC2."""
        self.run(lambda tx: tx.session.query(Instance).filter_by(id=instance_id).update(values))

    def states(self) -> dict[str, str]:
        """The lifecycle states of the instances."""
        found = self.run(lambda tx: tx.session.query(ScalingInstance).all())
        return {one.instance_id: one.lifecycle_state for one in found}

    def instance(self, instance_id: str) -> Instance:
        """An instance as EC2 has it."""
        found: Instance = self.run(lambda tx: tx.session.get_one(Instance, instance_id))
        return found

    def activities(self) -> dict[str, str]:
        """The statuses of what the group did, by description."""
        found = self.run(lambda tx: tx.session.query(ScalingActivity).all())
        return {one.description: one.status for one in found}
