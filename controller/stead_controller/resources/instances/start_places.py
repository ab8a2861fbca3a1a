"""On which host a stopped instance starts: any of its zone, a home of its volumes before others.

Its volumes stay at their homes, which serve them to another host. What its last host alone has of it, such as its saved
memory, binds it to that host. EC2, too, starts most instances on another host than before:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/how-ec2-instance-stop-start-works.html.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select

from stead_controller.db.tables import Host, HostResource, Instance, NetworkInterface, Volume
from stead_controller.desired import desired_state, outbox, topics
from stead_controller.errors import NoCapacity
from stead_controller.placement.search import Terms
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.capacity import Place
from stead_controller.resources.instances import (
    instance_firmware,
    instance_groups,
    instance_needs,
    instance_reservations,
    instance_tenancies,
    spot_interruptions,
    volume_attachments,
)
from stead_controller.resources.instances.instance_reservations import ChosenReservations
from stead_proto.v1 import desired_pb2 as pb


def reserve(tx: Transaction, cloud: Cloud, instance: Instance, last_host_id: str) -> None:
    """Reserve capacity for the start of a stopped instance and move it to that host; raises NoCapacity, LimitExceeded.

    Of its placement group it gets the first partition in which it can start, and of Dedicated Hosts its last one, if it
    can.
    """
    volumes, interfaces = _parts(tx, instance)
    bound = _what_binds(tx, instance, volumes, interfaces)
    tenancies = instance_tenancies.for_start(tx, instance)
    options = [replace(one, tenancy=tenancy) for tenancy in tenancies for one in instance_groups.terms(tx, instance)]
    reservations = instance_reservations.choose_for(tx, instance)
    for number, terms in enumerate(options, 1):
        bound_to = last_host_id if bound else ""
        try:
            place = _reserve(tx, cloud, instance, volumes, terms, reservations, bound_to=bound_to)
        except NoCapacity as refusal:
            if number < len(options):
                continue
            words = f"{refusal.message} It can start on no other host, since {bound}." if bound else refusal.message
            raise NoCapacity(words, code=refusal.code, ending=refusal.ending) from refusal
        if terms.group is not None:
            instance.partition_number = terms.group.partition
        instance.capacity_reservation_id = place.reservation_id
        instance.dedicated_host_id = place.dedicated_host_id
        if place.host_id != last_host_id:
            _move(tx, instance, volumes, interfaces, place.host_id)
        return


def what_binds(tx: Transaction, instance: Instance) -> str:
    """Say why a stopped instance could not have another host now; empty when it could."""
    return _what_binds(tx, instance, *_parts(tx, instance))


def any_other(tx: Transaction, instance: Instance) -> str | None:
    """Return another host that a stopped instance could have, a home of its volumes before others; None without one."""
    volumes, _ = _parts(tx, instance)
    homes = {volume.host_id for volume in volumes}
    need = instance_needs.of(tx, instance)
    others = (
        select(Host.id)
        .where(
            Host.zone == instance.zone,
            Host.state == "up",
            Host.schedulable.is_(True),
            Host.uefi.in_((True, need.uefi)),
            Host.tpm.in_((True, need.tpm)),
            Host.id.not_in({*_unfit(tx, instance, volumes), instance.host_id}),
        )
        .order_by(Host.id.in_(homes).desc(), Host.memory_free.desc(), Host.id)
    )
    return tx.session.scalar(others.limit(1))


def relocate(tx: Transaction, instance: Instance, host_id: str) -> None:
    """Give a stopped instance another host, which reserves nothing for it; raises NoCapacity where that must wait."""
    volumes, interfaces = _parts(tx, instance)
    if host_id in _releasing(tx, volumes):
        raise NoCapacity(f"{host_id} has still to release a volume of {instance.id}.")
    if host_id in _unfit(tx, instance, volumes):
        raise NoCapacity(f"{host_id} cannot have what {instance.id} has stored beside its volumes: renew its agent.")
    _move(tx, instance, volumes, interfaces, host_id)
    desired_state.refresh_instance(tx, instance.id)


def _parts(tx: Transaction, instance: Instance) -> tuple[Sequence[Volume], Sequence[NetworkInterface]]:
    volumes = select(Volume).where(Volume.instance_id == instance.id).order_by(Volume.id)
    interfaces = select(NetworkInterface).where(NetworkInterface.instance_id == instance.id)
    return tx.session.scalars(volumes).all(), tx.session.scalars(interfaces.order_by(NetworkInterface.id)).all()


def _what_binds(
    tx: Transaction, instance: Instance, volumes: Sequence[Volume], interfaces: Sequence[NetworkInterface]
) -> str:
    return _left_on_host(tx, instance) or _bound(tx, volumes, interfaces)


def _reserve(  # noqa: PLR0917 - a place depends on all of these
    tx: Transaction,
    cloud: Cloud,
    instance: Instance,
    volumes: Sequence[Volume],
    terms: Terms,
    reservations: ChosenReservations,
    *,
    bound_to: str,
) -> Place:
    """Reserve a place on any host, or on the one that an instance is bound to, and return it; raises NoCapacity."""
    need = instance_needs.of(tx, instance)
    homes = Counter[str]()
    for volume in volumes:
        homes[volume.host_id or ""] += volume.size
    near = replace(terms, homes=homes)
    but = set() if bound_to else _unfit(tx, instance, volumes)
    search = capacity.search_for(cloud, need, instance.zone, terms=near)
    reserved = instance_reservations.use(tx, cloud, reservations, search, but=but, only_on=bound_to)
    if reserved is not None:
        return reserved
    if bound_to:
        return capacity.reserve_on(tx, cloud, bound_to, need, terms)
    try:
        return capacity.reserve_any(tx, cloud, need, instance.zone, terms=near, but=but)
    except NoCapacity as refusal:
        if instance.spot_request_id is not None or terms.group is not None:
            raise
        raise spot_interruptions.for_room(tx, cloud, refusal, search, 1, but=but) from refusal


def _left_on_host(tx: Transaction, instance: Instance) -> str:
    """Say what the last host alone has of a guest; empty when there is no such thing."""
    if instance.memory_saved:
        return "its memory is saved there"
    if not instance_needs.boots_by_uefi(instance) or instance_firmware.is_kept(tx, instance):
        return ""
    return "the state of its TPM is there" if instance.sealed_tpm_key is not None else "its UEFI variables are there"


def _bound(tx: Transaction, volumes: Sequence[Volume], interfaces: Sequence[NetworkInterface]) -> str:
    """Say why another host could not have an instance's volumes and interfaces now; empty when it could."""
    parts: list[Volume | NetworkInterface] = [*volumes, *interfaces]
    for part in parts:
        if part.attachment_state != "attached":
            return f"{part.id} is {part.attachment_state}"
    down = select(Host.id).where(Host.id.in_({volume.host_id for volume in volumes}), Host.state != "up")
    for host_id in tx.session.scalars(down):
        return f"{next(volume.id for volume in volumes if volume.host_id == host_id)} is on {host_id}, which is down"
    return ""


def _unfit(tx: Transaction, instance: Instance, volumes: Sequence[Volume]) -> set[str]:
    """Return the hosts that cannot have an instance now, for its volumes or for what it has stored."""
    found = _releasing(tx, volumes)
    if instance_needs.boots_by_uefi(instance):
        query = select(Host.id).where(Host.uefi.is_(True), Host.lays_firmware.is_(False), Host.id != instance.host_id)
        found.update(tx.session.scalars(query))
    return found


def _releasing(tx: Transaction, volumes: Sequence[Volume]) -> set[str]:
    """Return the hosts that have not yet released one of these volumes, which another guest there may still use."""
    query = select(HostResource.host_id).where(
        HostResource.kind == pb.KIND_VOLUME,
        HostResource.resource_id.in_([volume.id for volume in volumes]),
        HostResource.body.is_(None),
    )
    return set(tx.session.scalars(query))


def _move(
    tx: Transaction,
    instance: Instance,
    volumes: Sequence[Volume],
    interfaces: Sequence[NetworkInterface],
    host_id: str,
) -> None:
    """Move a stopped instance to another host: its last one removes what it has of it, its volumes are served anew."""
    last = instance.host_id
    assert last is not None
    instance.host_id = host_id
    for interface in interfaces:
        interface.host_id = host_id
    instance_firmware.move(tx, instance)
    tx.session.flush()
    gone = {(int(pb.KIND_INTERFACE), interface.id) for interface in interfaces}
    outbox.write(tx, last, {}, gone={(int(pb.KIND_MACHINE), instance.id), *gone})
    for volume in volumes:
        volume_attachments.move_use(tx, volume, host_id)
    for vpc_id in sorted({interface.vpc_id for interface in interfaces}):
        topics.refresh_host(tx, vpc_id, last)
