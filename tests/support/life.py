"""Instances from launch to termination: API requests on one side, a host's reports on the other."""

from typing import Any

from sqlalchemy import func, select

from stead_controller.db.tables import Host, Image, Instance
from stead_controller.desired import changes
from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import NOW


def named(item: Any) -> Any:
    """The id of a resource; for a mapping, that of its interface."""
    return f"mapping of {item.id}" if item.HasField("mapping") else item.id


class Life:
    """Drives instances of a world's first tenant, and its host."""

    def __init__(self, database: Any, world: Any) -> None:
        self.database = database
        self.world = world
        self.caller = world.one.caller

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return self.database.run_blocking(lambda tx: function(tx, *args, **kwargs))

    def launch(self, count: Any = 1, **changes: Any) -> Any:
        params = {
            "image_id": self.world.image_id,
            "instance_type": "stead.tiny",
            "min_count": count,
            "max_count": count,
        } | changes
        reservation = self.run(run_instances, self.caller, self.world.cloud, LaunchRequest(**params), NOW)
        return self.run(
            lambda tx: list(
                tx.session.scalars(
                    select(Instance.id).where(Instance.reservation_id == reservation).order_by(Instance.launch_index)
                )
            )
        )

    def instance(self, instance_id: Any) -> Any:
        return self.run(lambda tx: tx.session.get(Instance, instance_id))

    def image(self) -> Any:
        return self.run(lambda tx: tx.session.get_one(Image, self.world.image_id))

    def host(self) -> Any:
        return self.run(lambda tx: tx.session.get(Host, self.world.host_id))

    def wanted(self) -> Any:
        """The desired state of the host, as {id: Resource}, and what it must remove, as a set of ids."""
        state = self.run(lambda tx: changes.everything(tx, self.world.host_id)).message.state
        return {named(item): item for item in state.resources}, {item.id for item in state.removals}

    def report(
        self, kind: Any, resource_id: Any, condition: Any = pb.CONDITION_READY, *, now: Any = NOW, **more: Any
    ) -> None:
        status = pb.ResourceStatus(kind=kind, id=resource_id, condition=condition, **more)
        self.run(apply_progress, [(self.world.host_id, [status])], now)

    def is_running(self, instance_id: Any) -> None:
        self.power(instance_id, pb.MACHINE_POWER_RUNNING)

    def power(
        self,
        instance_id: Any,
        power: Any,
        reason: Any = pb.OFF_REASON_UNSPECIFIED,
        start_count: Any = None,
        *,
        now: Any = NOW,
    ) -> None:
        count = self.instance(instance_id).start_count if start_count is None else start_count
        machine = pb.MachineStatus(power=power, start_count=count, off_reason=reason)
        self.report(desired.KIND_MACHINE, instance_id, now=now, machine=machine)

    def is_absent(self, kind: Any, resource_id: Any) -> None:
        self.report(kind, resource_id, pb.CONDITION_ABSENT)

    def rows(self, model: Any) -> Any:
        return self.run(lambda tx: tx.session.scalar(select(func.count()).select_from(model)))
