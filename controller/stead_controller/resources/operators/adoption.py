"""Adopts what hosts have and this database, an older copy, does not know: rows are made of what hosts say of it.

A unit is an instance with its interfaces, their public addresses and its volumes, and with what is not known of their
VPCs; or such a VPC with its gateways; or a volume that no instance has. It is adopted in one transaction, whole or not
at all, and only if its host then has to do nothing: what the rows make of the desired state must be what the host was
last told (`adopted_state.py`). Its use is billed from the adoption on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidTag

from stead_controller.db.insert import insert_new
from stead_controller.db.tables import (
    Account,
    Host,
    Image,
    Instance,
    Reservation,
    Snapshot,
    Subnet,
    Volume,
)
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, NotFound, WrongState
from stead_controller.request import instance_types
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.host_capacity import capacity, volume_homes
from stead_controller.resources.instances import instance_needs, instance_states
from stead_controller.resources.network import private_names
from stead_controller.resources.network.private_names import NameOptions
from stead_controller.resources.operators import (
    adopted_gateways,
    adopted_network,
    adopted_profiles,
    adopted_rows,
    adopted_state,
    adopted_vpcs,
    unclaimed_resources,
)
from stead_controller.resources.operators.adopted_vpcs import Networks
from stead_controller.resources.operators.unclaimed_resources import Unclaimed
from stead_controller.resources.storage import volume_keys, volume_usage
from stead_proto.v1 import desired_pb2 as pb

_RESTORE: Final = "restore a newer backup, or remove it and make it anew"

_OF_GROUP: Final = "aws:autoscaling:groupName"


@dataclass(slots=True)
class Adoption:
    """An adoption under way: what of the hosts' words is taken over, and what the operator should know of it."""

    cloud: Cloud
    networks: Networks
    taken: list[Unclaimed] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)  # instances
    notes: list[str] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """When it is."""
        return self.networks.now


@dataclass(frozen=True, slots=True)
class _Disk:
    """A volume of an instance: as its host has it, and as its home has it, if that is not known to the database."""

    id: str
    device: str
    here: Unclaimed | None
    home: Unclaimed | None


def adopt(tx: Transaction, cloud: Cloud, resource_id: str, account_id: str, now: datetime) -> list[str]:
    """Adopt an instance or a volume by its id, and return what the operator should know of it.

    `account_id` is only for a volume of which its host does not know whose it is. Raises NotFound for what is not
    unclaimed, WrongState and InvalidParameter where it cannot be adopted; they say why and what to do.
    """
    found = unclaimed_resources.find(tx, resource_id)
    adoption = Adoption(cloud, Networks(now))
    kinds = {each.kind for each in found}
    if kinds == {pb.KIND_MACHINE}:
        _adopt_instance(tx, adoption, _only(found))
    elif kinds == {pb.KIND_VOLUME}:
        _adopt_volume(tx, adoption, found, account_id)
    elif kinds == {pb.KIND_VPC}:
        _adopt_vpc(tx, adoption, found[0])
    elif gateways := [each for each in found if each.kind in adopted_gateways.KINDS]:
        _adopt_vpc(tx, adoption, gateways[0])
    elif found[0].part_of:
        raise InvalidParameter(f"{resource_id} is a part of {found[0].part_of}: adopt that.")
    else:
        raise InvalidParameter(
            f"{resource_id} cannot be adopted by itself: only instances, with all that they have, VPCs and volumes. "
            "Make it anew, and remove this one."
        )
    adopted_vpcs.settle(tx, adoption.networks.vpc_ids)
    adopted_state.require_unchanged(tx, [*adoption.networks.parts, *adoption.taken])
    return [*adoption.networks.notes, *adoption.notes]


def _adopt_vpc(tx: Transaction, adoption: Adoption, one: Unclaimed) -> None:
    """Adopt a VPC with its gateways and what its routes lead to; further instances in it are adopted by themselves."""
    _require_host(tx, one.host_id)
    vpc_id = adopted_vpcs.vpc_of(one)
    if one.resource is None or not vpc_id:
        raise WrongState("vpc", f"{one.id} cannot be adopted: {unclaimed_resources.NO_WORD}.")
    owner = adopted_vpcs.owner_of(tx, one.host_id, vpc_id)
    _take_networks(tx, adoption, one.host_id, [vpc_id], owner)
    if not adoption.networks.parts and not adoption.taken:
        raise InvalidParameter(f"{vpc_id} is known, and cannot be adopted by itself: adopt what is in it.")


def _take_networks(tx: Transaction, adoption: Adoption, host_id: str, vpc_ids: Iterable[str], account_id: str) -> None:
    """Make what is not known of VPCs, and of all that their routes lead to."""
    adoption.notes += adopted_vpcs.make_account(tx, host_id, account_id)
    _require_account(tx, account_id)
    for vpc_id in sorted(set(vpc_ids) - adoption.networks.vpc_ids):
        adopted_vpcs.take(tx, adoption.networks, host_id, vpc_id, account_id)
    adoption.taken += adopted_gateways.take(tx, adoption.networks.vpc_ids, adoption.now)
    for interface_id in adopted_vpcs.appliances(tx, adoption.networks.vpc_ids):
        for each in unclaimed_resources.list_all(tx):
            if each.id == interface_id and each.part_of and each.part_of not in adoption.under_way:
                _adopt_instance(tx, adoption, _only(unclaimed_resources.find(tx, each.part_of)))


def _adopt_volume(tx: Transaction, adoption: Adoption, found: Sequence[Unclaimed], account_id: str) -> None:
    home = _only([each for each in found if each.resource is None or not each.resource.volume.HasField("remote")])
    if home.part_of:
        raise InvalidParameter(f"{home.id} is a part of {home.part_of}: adopt that.")
    if tx.session.get(Volume, home.id) is not None:
        raise WrongState("volume", f"The database knows {home.id} with another home: remove it from {home.host_id}.")
    body = _said(home).volume
    if body.HasField("export"):
        raise InvalidParameter(f"{home.id} is in use by {body.export.client_host_id}: adopt its instance.")
    owner = home.account_id or account_id
    if not owner:
        raise InvalidParameter(f"The host of {home.id} does not know whose it is: name its account.")
    if home.account_id and account_id not in ("", home.account_id):
        raise InvalidParameter(f"{home.id} is the account {home.account_id}'s.")
    _require_account(tx, owner)
    host = _require_host(tx, home.host_id)
    unclaimed_resources.forget(tx, [home.key])
    row = _new_volume(tx, adoption, home, owner, host)
    adoption.taken.append(home)
    insert_new(tx.session, row)
    _take_room(tx, row)
    volume_usage.begin(tx, row, adoption.now)
    desired_state.refresh_volume(tx, row)


def _adopt_instance(tx: Transaction, adoption: Adoption, one: Unclaimed) -> None:
    machine = _said(one).machine
    words = machine.metadata
    host = _require_host(tx, one.host_id)
    adoption.under_way.add(one.id)
    _require_new_instance(tx, one, machine)
    parts = {each.id: each for each in unclaimed_resources.list_all(tx, one.host_id)}
    interfaces = [_part(parts, pb.KIND_INTERFACE, each.interface_id, one) for each in machine.interfaces]
    vpc_ids = {_said(each).interface.vpc_id for each in interfaces}
    _take_networks(tx, adoption, one.host_id, vpc_ids, words.account_id)
    subnets = [adopted_network.subnet_of(tx, each, words.account_id) for each in interfaces]
    disks = [_disk(tx, parts, disk, one) for disk in machine.disks if disk.volume_id]
    taken = [one, *interfaces]
    for disk in disks:
        taken += {each.key: each for each in (disk.here, disk.home) if each is not None}.values()
    unclaimed_resources.forget(tx, [each.key for each in taken])
    adoption.taken += taken
    row = _new_instance(tx, adoption, one, subnets[0], host)
    insert_new(tx.session, row)
    tx.session.add_all([*adopted_rows.scratch_disks(row.id, machine), *adopted_rows.tags(row.id, machine)])
    tx.session.flush()
    for found, subnet, place in zip(interfaces, subnets, machine.interfaces, strict=True):
        adoption.notes += adopted_network.adopt(tx, found, subnet, row, place, adoption.now)
    row.public_address = adopted_network.public_of(tx, interfaces[0].id)
    _adopt_disks(tx, adoption, row, disks)
    _reserve(tx, row)
    adoption.notes += adopted_profiles.give(tx, adoption.cloud, row, words.role, adoption.now)
    if row.state == "pending":
        instance_states.change_state(tx, row, "running", adoption.now)
    tx.events.add(row.id)
    desired_state.refresh_instance(tx, row.id)


def _require_new_instance(tx: Transaction, one: Unclaimed, machine: pb.Machine) -> None:
    """Raise WrongState for an instance that cannot be adopted at all."""
    known = tx.session.get(Instance, one.id)
    if known is not None:
        raise WrongState("instance", f"The database knows {one.id}, as {known.state}: remove what the host has of it.")
    kind = machine.metadata.instance_type
    if instance_types.find(tx, kind) is None:
        raise WrongState("instance", f"{one.id} is of the type {kind}, which is not there: add that type again first.")
    if machine.devices or machine.HasField("pinning"):
        raise WrongState(
            "instance",
            f"{one.id} has devices or cores of its host alone, and such instances are not adopted: {_RESTORE}.",
        )
    if machine.HasField("tpm") and not machine.tpm.sealed_key:
        raise WrongState("instance", f"The key of the TPM of {one.id} is not known: {_RESTORE}.")


def _new_instance(tx: Transaction, adoption: Adoption, one: Unclaimed, subnet: Subnet, host: Host) -> Instance:
    """Make the row of an instance, and that of its reservation unless another instance of it is known."""
    machine = _said(one).machine
    reservation_id = machine.metadata.reservation_id
    if tx.session.get(Reservation, reservation_id) is None:
        reservation = Reservation(id=reservation_id, account_id=machine.metadata.account_id, created=adoption.now)
        insert_new(tx.session, reservation)
    by_id = machine.metadata.hostname.startswith(f"{one.id}.")
    names = private_names.settle(NameOptions("resource-name" if by_id else "ip-name"), subnet)
    place = adopted_rows.Place(host.id, subnet, reservation_id, names)
    row = adopted_rows.instance(one.id, machine, place, adoption.now)
    if row.sealed_tpm_key is not None:
        _require_key(adoption.cloud, one.id, row.sealed_tpm_key)
    if tx.session.get(Image, row.image_id) is None:
        adoption.notes.append(f"its image {row.image_id} is not in the database")
    words = machine.metadata
    if words.spot:
        adoption.notes.append("it was a Spot Instance, and is one on demand now")
    if words.dedicated_host_id:
        adoption.notes.append(
            f"it was on the Dedicated Host {words.dedicated_host_id}, and has the default tenancy now"
        )
    if words.placement_group:
        adoption.notes.append(f"it was in the placement group {words.placement_group}, and is in none now")
    if not machine.HasField("record") and not words.options.instance_tags:
        adoption.notes.append("its tags are not known")
    if group := machine.record.tags.get(_OF_GROUP):
        adoption.notes.append(f"it was in the Auto Scaling group {group}, and is in none now")
    return row


def _adopt_disks(tx: Transaction, adoption: Adoption, owner: Instance, disks: Sequence[_Disk]) -> None:
    """Make the rows of an instance's volumes, or take those that the database has free, and attach them."""
    rows = []
    homes = []
    for disk in disks:
        row = tx.session.get(Volume, disk.id)
        if row is None:
            if disk.home is None:
                raise WrongState("volume", f"No host that is up has said of {disk.id} that it is at home there.")
            home_host = _require_host(tx, disk.home.host_id)
            row = _new_volume(tx, adoption, disk.home, owner.account_id, home_host)
            insert_new(tx.session, row)
            _take_room(tx, row)
            volume_usage.begin(tx, row, adoption.now)
        elif row.account_id != owner.account_id or row.instance_id is not None or row.state != "available":
            use = f"attached to {row.instance_id}" if row.instance_id else row.state
            raise WrongState("volume", f"The database has {disk.id}, a volume of {owner.id}, as {use}.")
        elif disk.home is not None:
            _give_home(tx, row, disk.home)
        rows.append((row, disk.device))
        homes.append(_at_home(disk))
    tx.session.flush()
    adopted_rows.attach(rows, owner, homes)
    tx.session.flush()
    for row, _ in rows:
        desired_state.refresh_volume(tx, row)


def _at_home(disk: _Disk) -> pb.Volume:
    """Return what is said of a volume at its home; where the database knows it, no more than how it is exported."""
    if disk.home is not None:
        return _said(disk.home).volume
    known = pb.Volume()
    if disk.here is not None:
        remote = _said(disk.here).volume.remote
        known.export.port, known.export.generation = remote.port, remote.generation
    return known


def _give_home(tx: Transaction, row: Volume, home: Unclaimed) -> None:
    """Set the home of a volume that had none when the copy was made."""
    if row.host_id is not None:
        raise WrongState("volume", f"The database has {row.id} on {row.host_id}, and {home.host_id} has it too.")
    body = _said(home).volume
    row.host_id, row.pool, row.generation = home.host_id, body.pool, body.export.generation
    _take_room(tx, row)


def _new_volume(tx: Transaction, adoption: Adoption, home: Unclaimed, account_id: str, host: Host) -> Volume:
    """Make the row of a volume; raises WrongState for one whose data nobody could read again."""
    body = _said(home).volume
    if body.record.account_id not in ("", account_id):
        raise WrongState("volume", f"{home.id} is the account {body.record.account_id}'s, not {account_id}'s.")
    if body.encrypted:
        if not body.sealed_key:
            raise WrongState(
                "volume", f"{home.id} is encrypted, and its host has no key of it while nobody reads it: {_RESTORE}."
            )
        _require_key(adoption.cloud, home.id, body.sealed_key)
    if body.base_id and tx.session.get(Snapshot, body.base_id) is None:
        adoption.notes.append(f"{home.id} was made of {body.base_id}, which is not in the database: its host keeps it")
    return adopted_rows.volume(home.id, body, account_id, host, adoption.now)


def _require_key(cloud: Cloud, resource_id: str, sealed: bytes) -> None:
    try:
        cloud.sealer.open(sealed, volume_keys.CONTEXT)
    except (InvalidTag, ValueError) as error:
        raise WrongState(
            "volume",
            f"The key of {resource_id} was sealed by another master key than this cloud has: {_RESTORE}. A saved "
            "one is for: stead recover --master-key-file.",
        ) from error


def _take_room(tx: Transaction, row: Volume) -> None:
    assert row.host_id is not None
    volume_homes.release_bytes(tx, row.host_id, row.pool, -row.size * adopted_rows.GIB)


def _reserve(tx: Transaction, row: Instance) -> None:
    """Reserve the room that the instance has already, whether it is free or not."""
    assert row.host_id is not None
    tx.session.flush()
    need = instance_needs.of(tx, row)
    capacity.count(tx, row.host_id, need.vcpus, need.memory)
    store = need.instance_store + (row.memory if row.memory_saved else 0)
    if store:
        volume_homes.release_bytes(tx, row.host_id, "", -store)
    quotas.use_vcpus(tx, row.account_id, row.vcpus)


def _disk(tx: Transaction, parts: dict[str, Unclaimed], disk: pb.MachineDisk, one: Unclaimed) -> _Disk:
    """Find what hosts say of a volume of a machine."""
    here = parts.get(disk.volume_id)
    if here is None:
        if tx.session.get(Volume, disk.volume_id) is None:
            raise WrongState(
                "volume", f"{one.host_id} has not said that it has {disk.volume_id}, a volume of {one.id}."
            )
        return _Disk(disk.volume_id, disk.device_name, None, None)
    remote = _said(here).volume.remote
    if not _said(here).volume.HasField("remote"):
        return _Disk(disk.volume_id, disk.device_name, here, here)
    others = [each for each in unclaimed_resources.list_all(tx, remote.home_host_id) if each.id == disk.volume_id]
    return _Disk(disk.volume_id, disk.device_name, here, others[0] if others else None)


def _part(parts: dict[str, Unclaimed], kind: int, resource_id: str, one: Unclaimed) -> Unclaimed:
    found = parts.get(resource_id)
    if found is None or found.kind != kind:
        raise WrongState("instance", f"{one.host_id} has not said that it has {resource_id}, a part of {one.id}.")
    return found


def _only(found: Sequence[Unclaimed]) -> Unclaimed:
    """Return what one host alone has; raises WrongState where several have it."""
    if len(found) == 1:
        return found[0]
    hosts = ", ".join(sorted(each.host_id for each in found)) or "Only hosts that use it elsewhere"
    raise WrongState("instance", f"{hosts} have it: remove it from all but one, by --host.")


def _said(one: Unclaimed) -> pb.Resource:
    if one.resource is None:
        raise WrongState("instance", f"{one.id} cannot be adopted: {unclaimed_resources.NO_WORD}.")
    return one.resource


def _require_host(tx: Transaction, host_id: str) -> Host:
    host = tx.session.get(Host, host_id)
    if host is None or host.state != "up":
        raise WrongState("instance", f"{host_id} is not up: what it has is adopted when it is.")
    return host


def _require_account(tx: Transaction, account_id: str) -> None:
    if tx.session.get(Account, account_id) is None:
        raise NotFound("account", account_id, message=f"The account {account_id} is not in the database: {_RESTORE}.")
