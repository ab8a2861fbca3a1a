"""Writes the desired state of hosts from rows, in the transaction that changes the rows.

Callers change rows first, then call one of the functions here, which build the messages of the affected resources from
the rows and write only what differs: to the host's own outbox (`outbox.py`) or to the topic of a VPC (`topics.py`).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message
from sqlalchemy import Exists, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from stead_controller.db.prepared import ask
from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    HostResource,
    Instance,
    InterfaceGroup,
    NatGateway,
    NetworkInterface,
    Snapshot,
    Volume,
    VpcEndpointInterface,
)
from stead_controller.desired import outbox, subscriptions, topics
from stead_controller.desired.messages import mapping
from stead_controller.desired.messages.body import Key
from stead_controller.desired.messages.gateway import of_endpoint_interface, of_nat_gateway
from stead_controller.desired.messages.instance import Parts, of_instance, parts_of
from stead_controller.desired.messages.interface import of_interface
from stead_controller.desired.messages.region import region_of
from stead_controller.desired.messages.snapshot import of_base, of_snapshot
from stead_controller.desired.messages.volume import of_used_volume, of_volume
from stead_proto.v1 import desired_pb2 as pb

ENDED: Final = ("shutting-down", "terminated")
"""States of an instance of which a host must have nothing: what changes of it then must not make it wanted again."""


def refresh_instance(tx: Transaction, instance_id: str) -> None:
    """Write the desired state of an instance, its volumes and its interfaces for its host."""
    tx.session.flush()
    instance = tx.session.get_one(Instance, instance_id)
    if instance.host_id is not None:
        refresh_instances(tx, instance.host_id, [instance])


def refresh_instances(
    tx: Transaction, host_id: str, instances: Iterable[Instance], made: Mapping[str, Parts] = MappingProxyType({})
) -> None:
    """Write the desired state of several instances for their host, and their interfaces' mappings for the VPCs' hosts.

    Instances that have ended are left out: the host was already sent their removal.
    For instances in `made` these parts are used instead of being read; interfaces with known belongings are new.
    """
    tx.session.flush()
    wanted: dict[Key, Message] = {}
    vpcs: set[str] = set()
    region = region_of(tx)
    placed: list[tuple[NetworkInterface, Instance]] = []
    for instance in instances:
        if instance.state in ENDED:
            continue
        parts = made.get(instance.id) or parts_of(tx, instance)
        placed += [(interface, instance) for interface in parts.interfaces]
        messages = of_instance(tx, instance, parts, region)
        for body in list(messages.values()):
            if isinstance(body, pb.Volume):
                messages.update(_below(tx, host_id, body))
        wanted.update(messages)
        vpcs.update(interface.vpc_id for interface in parts.interfaces)
    outbox.write(tx, host_id, wanted)
    here = {interface.vpc_id for interface, _ in placed if interface.host_id == host_id}
    homes = {interface.host_id for interface, _ in placed}
    ask(
        tx.connection,
        *(one for each in vpcs for one in subscriptions.questions(each, host_id, has_interface=each in here)),
        *(mapping.question_of_address(each) for each in homes if each is not None),
    )
    for vpc_id in sorted(vpcs):
        topics.refresh_host(tx, vpc_id, host_id, has_interface=vpc_id in here)
    at = {each: mapping.host_address(tx, each) for each in homes}
    for interface, instance in placed:
        sent = wanted[pb.KIND_INTERFACE, interface.id]
        assert isinstance(sent, pb.Interface)
        where = mapping.of_placed(tx, interface, instance, sent=sent, at=at[interface.host_id], region=region)
        is_new = instance.id in made and interface.id in made[instance.id].belongings
        topics.write_part(tx, pb.KIND_MAPPING, interface.id, interface.vpc_id, where, is_new=is_new)


def refresh_volume(tx: Transaction, volume: Volume) -> None:
    """Write the desired state of a volume for its home, and for the other host that uses it, if any."""
    tx.session.flush()
    if volume.host_id is None or volume.state == "deleting":
        return
    at_home = of_volume(tx, volume, is_read=_is_read(tx, volume))
    outbox.write(tx, volume.host_id, {(pb.KIND_VOLUME, volume.id): at_home, **_below(tx, volume.host_id, at_home)})
    if volume.attached_host_id not in (None, volume.host_id) and volume.attachment_state not in ("detaching", "busy"):
        outbox.write(tx, volume.attached_host_id, {(pb.KIND_VOLUME, volume.id): of_used_volume(tx, volume)})


def _is_read(tx: Transaction, volume: Volume) -> bool:
    """Tell whether an instance has a volume or is to get it, or its home takes a snapshot: then that needs its key."""
    if volume.instance_id is not None or volume.state == "creating" or not volume.encrypted:
        return True
    return bool(tx.session.scalar(select(_taken_at(volume.id, volume.host_id))))


def _taken_at(volume_id: InstrumentedAttribute[str] | str, host_id: str | None) -> Exists:
    """Whether a host takes a snapshot of a volume."""
    return exists().where(Snapshot.volume_id == volume_id, Snapshot.host_id == host_id, Snapshot.state == "pending")


def _base_is_read(tx: Transaction, host_id: str, snapshot: Snapshot) -> bool:
    """Tell whether a volume over a base is read on a host: then the host needs the key of an encrypted base."""
    if not snapshot.encrypted:
        return True
    over = select(Volume.id).where(
        Volume.snapshot_id == snapshot.id,
        Volume.host_id == host_id,
        or_(Volume.instance_id.is_not(None), Volume.state == "creating", _taken_at(Volume.id, host_id)),
    )
    return tx.session.scalar(over.limit(1)) is not None


def _below(tx: Transaction, host_id: str, volume: pb.Volume) -> dict[Key, Message]:
    """Return the desired state of the base on which a volume is laid."""
    if volume.base_id and (snapshot := tx.session.get(Snapshot, volume.base_id)) is not None:
        is_read = _base_is_read(tx, host_id, snapshot)
        return {(pb.KIND_BASE, snapshot.id): of_base(snapshot, is_read=is_read)}
    return {}


def remove_volume(tx: Transaction, host_id: str, volume_id: str, *, force: bool = False) -> None:
    """Tell a host to remove all it has of a volume: its disk, or its access to a disk of another host.

    With `force` a guest that still uses a volume of another host gets I/O errors, so that it releases the volume.
    """
    outbox.write(tx, host_id, {}, gone={(pb.KIND_VOLUME, volume_id)}, force=force)
    volume = tx.session.get(Volume, volume_id)
    if volume is not None and volume.encrypted and volume.snapshot_id is not None:
        _withdraw_key(tx, host_id, tx.session.get(Snapshot, volume.snapshot_id))


def leave_home(tx: Transaction, host_id: str, volume: Volume, base_id: str | None) -> None:
    """Tell a volume's former home to remove its disk, and a deleted base below it that it needs no more."""
    tx.session.flush()
    outbox.write(tx, host_id, {}, gone={(pb.KIND_VOLUME, volume.id)})
    if base_id is not None:
        _withdraw_key(tx, host_id, tx.session.get(Snapshot, base_id))
        remove_unused_base(tx, base_id)


def _withdraw_key(tx: Transaction, host_id: str, base: Snapshot | None) -> None:
    """Withdraw the key of a base from a host that reads no volume over it any more."""
    if base is not None and base.encrypted and outbox.is_desired(tx, host_id, pb.KIND_BASE, base.id):
        message = of_base(base, is_read=_base_is_read(tx, host_id, base))
        outbox.write(tx, host_id, {(pb.KIND_BASE, base.id): message})


def removal_pending(tx: Transaction, host_id: str, volume_id: str) -> bool:
    """Tell whether a host was sent the removal of a volume and has not confirmed it."""
    return outbox.removal_pending(tx, host_id, (pb.KIND_VOLUME, volume_id))


def remove_machine(tx: Transaction, host_id: str, instance_id: str, *, force: bool = False) -> None:
    """Tell a host to remove a machine; its volumes and interfaces follow when it is gone."""
    outbox.write(tx, host_id, {}, gone={(pb.KIND_MACHINE, instance_id)}, force=force)


def remove_ended(tx: Transaction) -> int:
    """Send hosts the removal of machines that are shutting down, where that was not sent; return how many.

    An earlier release could write such a machine to the desired state again, and nothing then waited for its end.
    """
    stuck = 0
    ended = select(Instance).where(Instance.state == "shutting-down", Instance.host_id.is_not(None))
    for instance in tx.session.scalars(ended).all():
        assert instance.host_id is not None
        if not outbox.removal_pending(tx, instance.host_id, (pb.KIND_MACHINE, instance.id)):
            outbox.remove_each(tx, (pb.KIND_MACHINE, instance.id), [instance.host_id])
            stuck += 1
    return stuck


def remove_interface(tx: Transaction, host_id: str, interface_id: str) -> None:
    """Tell a host to remove an interface; its machine, now without the interface, must be written before."""
    outbox.write(tx, host_id, {}, gone={(pb.KIND_INTERFACE, interface_id)})


def refresh_nat_gateway(tx: Transaction, gateway_id: str) -> None:
    """Write a NAT gateway and its interface for its home host, and the interface's mapping for all hosts of its VPC."""
    tx.session.flush()
    gateway = tx.session.get_one(NatGateway, gateway_id)
    if gateway.host_id is None or gateway.interface_id is None:
        return
    interface = tx.session.get_one(NetworkInterface, gateway.interface_id)
    wanted: dict[Key, Message] = {
        (pb.KIND_INTERFACE, interface.id): of_interface(tx, interface, (), region_of(tx)),
        (pb.KIND_NAT_GATEWAY, gateway.id): of_nat_gateway(tx, gateway.id, interface),
    }
    outbox.write(tx, gateway.host_id, wanted)
    topics.refresh_host(tx, gateway.vpc_id, gateway.host_id)
    topics.refresh_part(tx, pb.KIND_MAPPING, interface.id, interface.vpc_id)


def remove_nat_gateway(tx: Transaction, host_id: str, gateway_id: str, interface_id: str) -> None:
    """Tell a host to remove a NAT gateway and its interface."""
    outbox.write(tx, host_id, {}, gone={(pb.KIND_NAT_GATEWAY, gateway_id), (pb.KIND_INTERFACE, interface_id)})


def refresh_endpoint_interface(tx: Transaction, interface_id: str) -> None:
    """Write an interface endpoint's interface for its home host, and its mapping for all hosts of its VPC."""
    tx.session.flush()
    row = tx.session.get_one(VpcEndpointInterface, interface_id)
    interface = tx.session.get_one(NetworkInterface, interface_id)
    if row.host_id is None:
        return
    groups = select(InterfaceGroup.group_id).where(InterfaceGroup.interface_id == interface_id)
    group_ids = tx.session.scalars(groups.order_by(InterfaceGroup.group_id)).all()
    wanted: dict[Key, Message] = {
        (pb.KIND_INTERFACE, interface_id): of_interface(tx, interface, group_ids, region_of(tx)),
        (pb.KIND_ENDPOINT_INTERFACE, interface_id): of_endpoint_interface(tx, row.endpoint_id, interface),
    }
    outbox.write(tx, row.host_id, wanted)
    topics.refresh_host(tx, interface.vpc_id, row.host_id)
    topics.refresh_part(tx, pb.KIND_MAPPING, interface_id, interface.vpc_id)


def remove_endpoint_interface(tx: Transaction, host_id: str, interface_id: str) -> None:
    """Tell a host to remove the interface of an interface endpoint."""
    outbox.write(tx, host_id, {}, gone={(pb.KIND_ENDPOINT_INTERFACE, interface_id), (pb.KIND_INTERFACE, interface_id)})


def take_snapshots(tx: Transaction, host_id: str, snapshots: Iterable[Snapshot], *, after_reboot: int = 0) -> None:
    """Tell a host to take snapshots, after a reboot of their machine or at once; all snapshots of a set are given."""
    tx.session.flush()
    taken = list(snapshots)
    volume_ids = [snapshot.volume_id for snapshot in taken if snapshot.set_id is not None]
    wanted: dict[Key, Message] = {
        (pb.KIND_SNAPSHOT, snapshot.id): of_snapshot(snapshot, volume_ids, after_reboot) for snapshot in taken
    }
    outbox.write(tx, host_id, wanted)
    _refresh_encrypted(tx, taken)


def remove_snapshot(tx: Transaction, host_id: str, snapshot: Snapshot) -> None:
    """Tell a host not to take a snapshot any more: it is complete, has failed, or was deleted."""
    outbox.write(tx, host_id, {}, gone={(pb.KIND_SNAPSHOT, snapshot.id)})
    _refresh_encrypted(tx, [snapshot])


def _refresh_encrypted(tx: Transaction, snapshots: Iterable[Snapshot]) -> None:
    """Write or withdraw the keys that the homes of encrypted volumes need for snapshots."""
    for snapshot in snapshots:
        volume = tx.session.get(Volume, snapshot.volume_id) if snapshot.encrypted else None
        if volume is not None and volume.instance_id is None:
            refresh_volume(tx, volume)


def remove_unused_base(tx: Transaction, snapshot_id: str) -> None:
    """Tell hosts to remove the base of a deleted snapshot where no volume is laid over it."""
    snapshot = tx.session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.state == "deleting":
        _remove_unused(tx, (pb.KIND_BASE, snapshot_id), Volume.snapshot_id)


def _remove_unused(tx: Transaction, key: Key, laid_over: InstrumentedAttribute[str | None]) -> None:
    """Tell all hosts that have a resource to remove it, except those with a volume over it."""
    kind, resource_id = key
    holders = select(HostResource.host_id).where(
        HostResource.resource_id == resource_id,
        HostResource.kind == kind,
        HostResource.body.is_not(None),
        ~exists().where(laid_over == resource_id, Volume.host_id == HostResource.host_id),
    )
    outbox.remove_each(tx, key, tx.session.scalars(holders).all())
