"""Find instances by ids and filters, with all their details.

A page of a thousand must take milliseconds: one query selects the ids; then a handful of queries for each thousand
reads columns instead of objects, and every value is copied once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import BindParameter, and_, bindparam, case, select
from sqlalchemy import Row as _Row

from stead_controller.db.prepared import Prepared, ask
from stead_controller.db.tables import (
    Instance,
    InstanceProfileAssociation,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    Volume,
    Vpc,
)
from stead_controller.names import instance_name, public_name, shown_private_name
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Selection
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.instances import instance_filters
from stead_controller.resources.network.network_interface_filters import VPC_GIVES_NAMES

type Row = _Row[*tuple[Any, ...]]
"""Columns of a table, by the names that they have there."""


class DescribedAddress(NamedTuple):
    """A private IPv4 address with its public one, and their DNS names, empty if the VPC has none.

    `public_owner` is an account's id, or `amazon` for an automatic address.
    """

    address: str
    private_name: str
    public_address: str | None
    public_name: str
    public_owner: str | None


class DescribedInterface(NamedTuple):
    """An interface with its addresses, the primary one first, and the ids and names of its security groups."""

    row: Row
    addresses: Sequence[DescribedAddress]
    ipv6_addresses: Sequence[str]
    groups: Sequence[tuple[str, str]]


class DescribedInstance(NamedTuple):
    """An instance with what belongs to it: interfaces by device index, volumes by device, the root device first.

    `profile` is the ARN and the id of its instance profile. Names are empty if the VPC has none, and for a terminated
    instance.
    """

    row: Row
    zone_id: str | None
    private_name: str
    public_name: str
    interfaces: Sequence[DescribedInterface]
    volumes: Sequence[Row]
    tags: Sequence[tuple[str, str]]
    profile: tuple[str, str] | None


class DescribedReservation(NamedTuple):
    """Instances of one launch, by their launch index.

    Each is built lazily: a page of a thousand is not held in memory next to its response.
    """

    id: str
    account_id: str
    members: "Sequence[tuple[Row, Batch]]"

    @property
    def instances(self) -> Iterable[DescribedInstance]:
        """The instances with what belongs to them."""
        return (batch.instance(row) for row, batch in self.members)


_INSTANCE: Final = (
    Instance.id,
    Instance.account_id,
    Instance.reservation_id,
    Instance.image_id,
    Instance.instance_type,
    Instance.vcpus,
    Instance.threads_per_core,
    Instance.architecture,
    Instance.boot_mode,
    Instance.sealed_tpm_key.is_not(None).label("tpm"),
    Instance.state,
    Instance.state_reason_code,
    Instance.state_reason_message,
    Instance.state_transition_reason,
    Instance.zone,
    Instance.vpc_id,
    Instance.subnet_id,
    Instance.private_address,
    Instance.public_address,
    Instance.key_name,
    Instance.launch_time,
    Instance.launch_index,
    Instance.client_token,
    Instance.root_device_name,
    Instance.ebs_optimized,
    Instance.monitoring,
    Instance.auto_recovery,
    Instance.hibernation,
    Instance.metadata_enabled,
    Instance.metadata_tokens_required,
    Instance.metadata_hop_limit,
    Instance.metadata_tags,
    Instance.metadata_ipv6,
    Instance.metadata_pending,
    Instance.profile_association_id,
    Instance.hostname_type,
    Instance.resource_name_a_record,
    Instance.resource_name_aaaa_record,
    Instance.placement_group_id,
    Instance.placement_group_name,
    Instance.partition_number,
    Instance.spot_request_id,
    Instance.tenancy,
    Instance.dedicated_host_id,
    Instance.host_affinity,
    Instance.capacity_reservation_id,
    Instance.reservation_preference,
    Instance.reservation_target,
)
_INTERFACE: Final = (
    NetworkInterface.id,
    NetworkInterface.account_id,
    NetworkInterface.instance_id,
    NetworkInterface.vpc_id,
    NetworkInterface.subnet_id,
    NetworkInterface.description,
    NetworkInterface.mac_address,
    NetworkInterface.private_address,
    NetworkInterface.source_dest_check,
    NetworkInterface.status,
    NetworkInterface.attachment_id,
    NetworkInterface.device_index,
    NetworkInterface.attachment_state,
    NetworkInterface.attach_time,
    NetworkInterface.delete_on_termination,
    NetworkInterface.interface_type,
    NetworkInterface.primary_ipv6,
    NetworkInterface.tcp_established_timeout,
    NetworkInterface.udp_timeout,
    NetworkInterface.udp_stream_timeout,
    PublicAddress.address.label("public_address"),
    case((PublicAddress.allocation_id.is_(None), "amazon"), else_=PublicAddress.account_id).label("public_owner"),
    VPC_GIVES_NAMES.label("named"),
    Vpc.dns_hostnames.label("host_names"),
)
# The addresses of an interface besides its primary one.
_HELD: Final = (
    InterfaceAddress.interface_id,
    InterfaceAddress.address,
    InterfaceAddress.ipv6,
    PublicAddress.address.label("public_address"),
    case((PublicAddress.allocation_id.is_(None), "amazon"), else_=PublicAddress.account_id).label("public_owner"),
)
_VOLUME: Final = (
    Volume.id,
    Volume.instance_id,
    Volume.device_name,
    Volume.attachment_state,
    Volume.attach_time,
    Volume.delete_on_termination,
)

# Each launch shows its instances: a prepared statement need not be built again.
_IDS: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
_INSTANCES: Final = Prepared(select(*_INSTANCE).where(Instance.id.in_(_IDS)).order_by(Instance.id))
_INTERFACES: Final = Prepared(
    select(*_INTERFACE)
    .join(Vpc, Vpc.id == NetworkInterface.vpc_id)
    .outerjoin(
        PublicAddress,
        and_(
            PublicAddress.interface_id == NetworkInterface.id,
            PublicAddress.private_address == NetworkInterface.private_address,
        ),
    )
    .where(NetworkInterface.instance_id.in_(_IDS))
    .order_by(NetworkInterface.device_index)
)
_HELD_BESIDE: Final = Prepared(
    select(*_HELD)
    .outerjoin(
        PublicAddress,
        and_(
            PublicAddress.interface_id == InterfaceAddress.interface_id,
            PublicAddress.private_address == InterfaceAddress.address,
        ),
    )
    .where(InterfaceAddress.interface_id.in_(_IDS), InterfaceAddress.primary.is_(False))
    .order_by(InterfaceAddress.position, InterfaceAddress.address)
)
_GROUPS: Final = Prepared(
    select(InterfaceGroup.interface_id, InterfaceGroup.group_id, SecurityGroup.name)
    .join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
    .where(InterfaceGroup.interface_id.in_(_IDS))
    .order_by(InterfaceGroup.group_id)
)
_VOLUMES: Final = Prepared(select(*_VOLUME).where(Volume.instance_id.in_(_IDS)).order_by(Volume.device_name))
# With the account as a condition, SQLite would read all instances of the account by their index.
_OF_RESERVATION: Final = Prepared(select(*_INSTANCE).where(Instance.reservation_id == bindparam("reservation_id")))


def select_ids(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[str]:
    """Return the ids of the caller's matching instances, sorted; raises MalformedId, NotFound."""
    mine = Instance.account_id == caller.account_id
    lookup.require(tx, "instance", Instance.id, asked.ids, mine)
    conditions = instance_filters.conditions(cloud)
    return lookup.select_ids(tx, caller, Instance.id, asked, mine, conditions=conditions)


def reservations(
    tx: Transaction, caller: Caller, cloud: Cloud, instance_ids: Sequence[str]
) -> list[DescribedReservation]:
    """Return instances with their details, grouped by reservation; ids must be the caller's."""
    grouped: dict[str, list[tuple[Row, Batch]]] = {}
    for ids in lookup.batches(instance_ids):
        rows = _INSTANCES.named(tx.connection, {"ids": ids})
        batch = _read(tx, caller, cloud, rows)
        for row in rows:
            grouped.setdefault(row.reservation_id, []).append((row, batch))
    for members in grouped.values():
        if len(members) > 1:
            members.sort(key=_launch_index)
    return [
        DescribedReservation(reservation_id, caller.account_id, members) for reservation_id, members in grouped.items()
    ]


def reservation(tx: Transaction, caller: Caller, cloud: Cloud, reservation_id: str) -> DescribedReservation:
    """Return the instances of one launch with their details; none if the caller has no such reservation."""
    rows = _OF_RESERVATION.named(tx.connection, {"reservation_id": reservation_id})
    members: list[tuple[Row, Batch]] = []
    for some in lookup.batches(row for row in rows if row.account_id == caller.account_id):
        batch = _read(tx, caller, cloud, some)
        members += [(row, batch) for row in some]
    members.sort(key=_launch_index)
    return DescribedReservation(reservation_id, caller.account_id, members)


def volumes_of(tx: Transaction, instance_id: str) -> Sequence[Row]:
    """Find the volumes of one instance, by device."""
    query = select(*_VOLUME).where(Volume.instance_id == instance_id).order_by(Volume.device_name)
    return tx.session.execute(query).all()


def _launch_index(member: "tuple[Row, Batch]") -> int:
    index: int = member[0].launch_index
    return index


class Batch:
    """Some instances with all rows that belong to them, by the ids of their owners."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        interfaces: Mapping[str, Sequence[Row]],
        held: Mapping[str, Sequence[Row]],
        groups: Mapping[str, Sequence[tuple[str, str]]],
        volumes: Mapping[str, Sequence[Row]],
        tags: Mapping[str, Sequence[tuple[str, str]]],
        profiles: Mapping[str, tuple[str, str]],
    ) -> None:
        """Take the rows: interfaces by instance; addresses beside the primary one and groups by interface."""
        self._region = cloud.region
        self._zone_ids = zone_ids(cloud)
        self._interfaces, self._held, self._groups = interfaces, held, groups
        self._volumes, self._tags, self._profiles = volumes, tags, profiles

    def instance(self, row: Row) -> DescribedInstance:
        """Return one of the instances with its related rows."""
        instance_id = row.id
        interfaces = self._interfaces.get(instance_id, ())
        shown = [self._interface(interface) for interface in interfaces]
        private, public = self._names(row, shown[0]) if shown else ("", "")
        return DescribedInstance(
            row,
            self._zone_ids.get(row.zone),
            private,
            public,
            shown,
            _root_first(self._volumes.get(instance_id, ()), row.root_device_name),
            self._tags.get(instance_id, ()),
            self._profiles.get(instance_id),
        )

    def _names(self, row: Row, primary: DescribedInterface) -> tuple[str, str]:
        """Return an instance's private and its public name, which the VPC of its primary interface gives."""
        if row.state == "terminated":
            return "", ""
        for one in primary.addresses[:1]:
            if row.hostname_type == "ip-name" and (one.address, one.public_address) == (
                row.private_address,
                row.public_address,
            ):
                return one.private_name, one.public_name
        private = ""
        if primary.row.host_names:
            private = instance_name(row.id, row.private_address, row.hostname_type, self._region)
        return private, self._public_name(row.public_address, named=primary.row.named)

    def _interface(self, row: Row) -> DescribedInterface:
        held: Sequence[Row] = self._held.get(row.id, ())
        addresses = []
        if row.private_address is not None:
            addresses.append(self._address(row.private_address, row, row))
            if held:
                addresses += [self._address(one.address, one, row) for one in held if not one.ipv6]
        ipv6 = [one.address for one in held if one.ipv6] if held else ()
        return DescribedInterface(row, addresses, ipv6, self._groups.get(row.id, ()))

    def _address(self, address: str, row: Row, interface: Row) -> DescribedAddress:
        """A private address with its public one, which the row has, and the names that the interface's VPC gives."""
        public = row.public_address
        return DescribedAddress(
            address,
            shown_private_name(address, self._region, named=interface.host_names),
            public,
            self._public_name(public, named=interface.named),
            row.public_owner,
        )

    def _public_name(self, address: str | None, *, named: bool) -> str:
        return public_name(address, self._region) if address is not None and named else ""


def _read(tx: Transaction, caller: Caller, cloud: Cloud, rows: Sequence[Row]) -> Batch:
    """Read what belongs to some instances by a handful of queries."""
    connection = tx.connection  # plain rows: the session would wrap each again
    instance_ids = [row.id for row in rows]
    asked = {"ids": instance_ids}
    ask(connection, (_INTERFACES, asked), (_VOLUMES, asked), (tags.OF, asked))
    interfaces = _by_owner(tx, _INTERFACES, instance_ids, "instance_id")
    interface_ids = [row.id for some in interfaces.values() for row in some]
    ask(connection, *((each, {"ids": interface_ids}) for each in (_HELD_BESIDE, _GROUPS)))
    return Batch(
        cloud,
        interfaces=interfaces,
        held=_by_owner(tx, _HELD_BESIDE, interface_ids, "interface_id"),
        groups=_groups_of(tx, interface_ids),
        volumes=_by_owner(tx, _VOLUMES, instance_ids, "instance_id"),
        tags=tags.pairs_of(tx, caller.account_id, instance_ids),
        profiles=_profiles_of(tx, rows),
    )


def _by_owner(tx: Transaction, statement: Prepared, ids: Sequence[str], column: str) -> Mapping[str, list[Row]]:
    """Read related rows, grouped by the id in a column that refers to the owner."""
    found: dict[str, list[Row]] = defaultdict(list)
    owner = attrgetter(column)
    for row in statement.named(tx.connection, {"ids": ids}):
        found[owner(row)].append(row)
    return found


def _groups_of(tx: Transaction, interface_ids: Sequence[str]) -> Mapping[str, list[tuple[str, str]]]:
    known: dict[str, tuple[str, str]] = {}
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for interface_id, group_id, name in _GROUPS.all(tx.connection, {"ids": interface_ids}):
        found[interface_id].append(known.setdefault(group_id, (group_id, name)))
    return found


def _profiles_of(tx: Transaction, rows: Sequence[Row]) -> Mapping[str, tuple[str, str]]:
    association = InstanceProfileAssociation
    wanted = [row.profile_association_id for row in rows if row.profile_association_id]
    if not wanted:
        return {}
    columns = (association.instance_id, association.profile_arn, association.profile_id)
    found = tx.connection.execute(select(*columns).where(association.id.in_(wanted)))
    return {instance_id: (arn, profile_id) for instance_id, arn, profile_id in found}


def _root_first(volumes: Sequence[Row], root_device_name: str) -> Sequence[Row]:
    if len(volumes) < 2:
        return volumes
    return sorted(volumes, key=lambda volume: volume.device_name != root_device_name)
