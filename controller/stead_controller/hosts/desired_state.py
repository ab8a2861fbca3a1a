"""Rows become what a host must make true: written to the outbox in the transaction that changes the rows.

Callers change rows first, then call one of the functions here, which compute the host's picture of the touched things
from the rows and write only what differs from the outbox.
"""

from collections.abc import Iterable, Mapping

from google.protobuf.message import Message
from sqlalchemy import ColumnElement, select, update

from stead_controller.db.insert import upsert
from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    Host,
    HostResource,
    Image,
    Instance,
    InterfaceGroup,
    NetworkInterface,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Volume,
    Vpc,
)
from stead_controller.hosts import pictures
from stead_controller.hosts.pictures import Key
from stead_proto.v1 import desired_pb2 as pb


def refresh_instance(tx: Transaction, instance_id: str) -> None:
    """Tell the instance's host how the instance, its volumes and its interfaces must be now."""
    tx.session.flush()
    instance = tx.session.get_one(Instance, instance_id)
    if instance.host_id is not None:
        refresh_instances(tx, instance.host_id, [instance])


def refresh_instances(tx: Transaction, host_id: str, instances: Iterable[Instance]) -> None:
    """Tell a host how several of its instances, with all they need, must be now."""
    tx.session.flush()
    wanted: dict[Key, Message] = {}
    vpcs: set[str] = set()
    region = pictures.region_of(tx)
    for instance in instances:
        wanted.update(pictures.of_instance(tx, instance, region))
        vpcs.add(instance.vpc_id)
        if (image := tx.session.get(Image, instance.image_id)) is not None:
            wanted[pb.KIND_IMAGE, image.id] = pictures.of_image(image)
    write(tx, host_id, wanted)
    for vpc_id in sorted(vpcs):
        refresh_vpc(tx, host_id, vpc_id)


def refresh_vpc(tx: Transaction, host_id: str, vpc_id: str) -> None:
    """Tell a host the VPC, subnets and groups that its interfaces need, and take away those they no longer need."""
    tx.session.flush()
    interfaces = select(NetworkInterface.id).where(
        NetworkInterface.host_id == host_id, NetworkInterface.vpc_id == vpc_id
    )
    subnet_ids = set(
        tx.session.scalars(
            select(NetworkInterface.subnet_id)
            .where(NetworkInterface.host_id == host_id, NetworkInterface.vpc_id == vpc_id)
            .distinct()
        )
    )
    group_ids = set(
        tx.session.scalars(
            select(InterfaceGroup.group_id).where(InterfaceGroup.interface_id.in_(interfaces)).distinct()
        )
    )
    if group_ids:
        peers = select(SecurityGroupRule.peer_group_id).where(SecurityGroupRule.group_id.in_(group_ids)).distinct()
        group_ids |= {peer for peer in tx.session.scalars(peers) if peer is not None}
    wanted: dict[Key, Message] = {}
    if subnet_ids:
        wanted[pb.KIND_VPC, vpc_id] = pictures.of_vpc(tx.session.get_one(Vpc, vpc_id), pictures.region_of(tx))
    for subnet_id in subnet_ids:
        wanted[pb.KIND_SUBNET, subnet_id] = pictures.of_subnet(tx.session.get_one(Subnet, subnet_id))
    for group_id in group_ids:
        wanted[pb.KIND_SECURITY_GROUP, group_id] = pictures.of_group(tx, group_id)
    known = _known_of_vpc(tx, host_id, vpc_id)
    write(tx, host_id, wanted, gone=known - wanted.keys())
    for group_id in group_ids:
        refresh_group(tx, group_id, except_host=host_id)


def refresh_group(tx: Transaction, group_id: str, *, except_host: str | None = None) -> None:
    """Tell every host that enforces this security group its rules and members as they are now."""
    tx.session.flush()
    hosts = set(
        tx.session.scalars(
            select(HostResource.host_id).where(
                HostResource.resource_id == group_id,
                HostResource.kind == pb.KIND_SECURITY_GROUP,
                HostResource.body.is_not(None),
            )
        )
    )
    hosts.discard(except_host or "")
    if not hosts:
        return
    picture = pictures.of_group(tx, group_id)
    peers = {rule.group_id for rule in picture.rules if rule.group_id}
    for host_id in sorted(hosts):
        wanted: dict[Key, Message] = {(pb.KIND_SECURITY_GROUP, group_id): picture}
        for peer in peers - {group_id}:
            wanted[pb.KIND_SECURITY_GROUP, peer] = pictures.of_group(tx, peer)
        write(tx, host_id, wanted)


def remove_machine(tx: Transaction, host_id: str, instance_id: str, *, force: bool = False) -> None:
    """Tell a host that a machine must go; its volumes and interfaces follow when it is gone."""
    write(tx, host_id, {}, gone={(pb.KIND_MACHINE, instance_id)}, force=force)


def remove_interface(tx: Transaction, host_id: str, interface_id: str) -> None:
    """Tell a host that an interface must go; its machine's picture, which no longer has it, is written before."""
    write(tx, host_id, {}, gone={(pb.KIND_INTERFACE, interface_id)})


def refresh_host_network(tx: Transaction, host_id: str, public_pools: Iterable[str]) -> None:
    """Tell a host the cloud's pools of public addresses."""
    write(tx, host_id, {(pb.KIND_HOST_NETWORK, "host-network"): pictures.of_host_network(public_pools)})


def remove_unused_image(tx: Transaction, image_id: str) -> None:
    """Tell hosts that an image's base must go where no volume is based on it."""
    holders = select(HostResource.host_id).where(
        HostResource.resource_id == image_id, HostResource.kind == pb.KIND_IMAGE, HostResource.body.is_not(None)
    )
    for host_id in tx.session.scalars(holders).all():
        used = select(Volume.id).where(Volume.host_id == host_id, Volume.image_id == image_id)
        if tx.session.execute(used).first() is None:
            write(tx, host_id, {}, gone={(pb.KIND_IMAGE, image_id)})


def write(
    tx: Transaction, host_id: str, wanted: Mapping[Key, Message], *, gone: Iterable[Key] = (), force: bool = False
) -> None:
    """Write to a host's outbox what differs from it; messages are bodies of `stead.v1.Resource`."""
    bodies: dict[Key, bytes | None] = {
        (kind, resource_id): pictures.resource(resource_id, body).SerializeToString(deterministic=True)
        for (kind, resource_id), body in wanted.items()
    }
    bodies.update(dict.fromkeys(gone))
    if not bodies:
        return
    known = {
        (row.kind, row.resource_id): (row.body, row.force)
        for row in tx.session.execute(
            select(HostResource.kind, HostResource.resource_id, HostResource.body, HostResource.force).where(
                HostResource.host_id == host_id, HostResource.resource_id.in_([key[1] for key in bodies])
            )
        )
    }
    changes = []
    for key, body in bodies.items():
        before = known.get(key)
        forced = body is None and force
        if before == (body, forced) or (before is None and body is None):
            continue
        changes.append({"kind": key[0], "resource_id": key[1], "body": body, "force": forced})
    if changes:
        revision = _next_revision(tx, host_id)
        upsert(tx.session, HostResource, [{"host_id": host_id, "revision": revision, **change} for change in changes])
        tx.wake_hosts.add(host_id)


def _next_revision(tx: Transaction, host_id: str) -> int:
    """Give the host's revision of this transaction: one more than before it."""
    if host_id not in tx.host_revisions:
        changed = (
            update(Host)
            .where(Host.id == host_id)
            .values(revision=Host.revision + 1)
            .returning(Host.revision)
            .execution_options(synchronize_session=False)
        )
        tx.host_revisions[host_id] = tx.session.execute(changed).scalar_one()
    return tx.host_revisions[host_id]


def _known_of_vpc(tx: Transaction, host_id: str, vpc_id: str) -> set[Key]:
    def on_host(kind: int) -> tuple[ColumnElement[bool], ...]:
        return (HostResource.host_id == host_id, HostResource.kind == kind, HostResource.body.is_not(None))

    known: set[Key] = set()
    queries = (
        (pb.KIND_VPC, select(HostResource.resource_id).where(HostResource.resource_id == vpc_id)),
        (
            pb.KIND_SUBNET,
            select(HostResource.resource_id)
            .join(Subnet, Subnet.id == HostResource.resource_id)
            .where(Subnet.vpc_id == vpc_id),
        ),
        (
            pb.KIND_SECURITY_GROUP,
            select(HostResource.resource_id)
            .join(SecurityGroup, SecurityGroup.id == HostResource.resource_id)
            .where(SecurityGroup.vpc_id == vpc_id),
        ),
    )
    for kind, query in queries:
        known |= {(kind, found) for found in tx.session.scalars(query.where(*on_host(kind)))}
    return known
