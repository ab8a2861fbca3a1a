"""Instances and their volumes on two hosts, with what the hosts are sent of them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from stead_controller.db.tables import HostResource, Instance, Volume
from stead_controller.desired import desired_state
from stead_controller.resources.instances import volume_attachments
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import CLOUD, NOW

VOLUME, MACHINE, BASE = int(desired.KIND_VOLUME), int(desired.KIND_MACHINE), int(desired.KIND_BASE)
FREE = {
    "instance_id": None,
    "device_name": None,
    "attachment_state": None,
    "attach_time": None,
    "attached_host_id": None,
    "state": "available",
    "delete_on_termination": False,
}


@dataclass
class Place:
    """Instances and volumes of the first tenant, on the world's host and on another of the same zone."""

    run: Any
    world: rows.World
    other_host: str
    launched: int = 0

    def launch(self, **changes: Any) -> Any:
        self.launched += 1

        def add(tx: Any) -> Any:
            made = rows.launch(tx, self.world, self.world.one, number=self.launched, **changes)
            desired_state.refresh_instance(tx, made.id)
            return made.id

        return self.run(add)

    def volume(self, **changes: Any) -> Any:
        """Add a volume at home on the world's host, free where nothing else is said."""

        def add(tx: Any) -> Any:
            instance = tx.session.scalars(select(Instance).limit(1)).first() or rows.launch(
                tx, self.world, self.world.one, number=200
            )
            row = rows.volume(instance, self.world, **FREE | {"host_id": self.world.host_id} | changes)
            tx.session.add(row)
            desired_state.refresh_volume(tx, row)
            return row.id

        return self.run(add)

    def attached(self, instance_id: Any, **changes: Any) -> Any:
        """Add a volume that an instance has, and which it was sent."""
        values = {"instance_id": instance_id, "device_name": "/dev/sdf", "attachment_state": "attached"}
        host_id = self.instance(instance_id).host_id
        volume_id = self.volume(**values | {"attached_host_id": host_id, "state": "in-use"} | changes)
        self.run(desired_state.refresh_instance, instance_id)
        return volume_id

    def remote(self, instance_id: Any, **changes: Any) -> Any:
        """Add a volume that an instance of the other host has, whose home is the world's."""
        return self.attached(instance_id, **{"export_port": 61000} | changes)

    def find(self, volume_id: Any) -> Any:
        return self.run(lambda tx: tx.session.get(Volume, volume_id))

    def instance(self, instance_id: Any) -> Any:
        return self.run(lambda tx: tx.session.get(Instance, instance_id))

    def change(self, model: Any, key: Any, **values: Any) -> Any:
        def write(tx: Any) -> Any:
            row = tx.session.get_one(model, key)
            for name, value in values.items():
                setattr(row, name, value)

        self.run(write)

    def attach(self, volume_id: Any, instance_id: Any, device: Any = "/dev/sdf") -> Any:
        asked = (volume_id, instance_id, device, NOW)
        return self.run(volume_attachments.attach, self.world.one.caller, CLOUD, *asked)

    def detach(self, volume_id: Any, *asked: Any, **more: Any) -> Any:
        return self.run(volume_attachments.detach, self.world.one.caller, volume_id, *asked, **more)

    def call(self, function: Any, volume_id: Any, *args: Any, **kwargs: Any) -> Any:
        return self.run(lambda tx: function(tx, tx.session.get_one(Volume, volume_id), *args, **kwargs))

    def sent(self, volume_id: Any, host_id: Any = None) -> Any:
        """What a host, the world's, is sent of a volume; False for nothing more, None where it never was."""
        row = self.run(lambda tx: tx.session.get(HostResource, (host_id or self.world.host_id, VOLUME, volume_id)))
        if row is None or row.body is None:
            return row and (False, row.force)
        return desired.Resource.FromString(row.body).volume

    def machine_has(self, instance_id: Any) -> Any:
        """The volumes of the machine as an instance's host is sent it."""
        key = (self.instance(instance_id).host_id, MACHINE, instance_id)
        body = self.run(lambda tx: tx.session.get_one(HostResource, key)).body
        return {each.volume_id for each in desired.Resource.FromString(body).machine.disks}

    def attachment(self, volume_id: Any) -> Any:
        row = self.find(volume_id)
        return row and (row.state, row.attachment_state, row.instance_id)
