"""Resolve what a launch request uses: image, type, subnet, groups, key; every refusal of a launch is here."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.catalog.instance_type import EVERYWHERE, InstanceType
from stead_controller.db.load import Load, columns_of
from stead_controller.db.tables import IamInstanceProfile, Image, KeyPair, Subnet, Vpc
from stead_controller.errors import InvalidCombination, InvalidParameter, NotFound, Unsupported
from stead_controller.placement.need import Need
from stead_controller.placement.tenancy import SHARED, Tenancy
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources.host_capacity import devices, rooms
from stead_controller.resources.images import image_parameters, images
from stead_controller.resources.instances import (
    cpu_options,
    credit_specifications,
    hibernation,
    instance_groups,
    instance_needs,
    instance_reservations,
    instance_tenancies,
    launch_interfaces,
    launch_questions,
    launch_volumes,
    profile_associations,
    spot_interruptions,
)
from stead_controller.resources.instances.cpu_options import CpuOptions
from stead_controller.resources.instances.instance_groups import ChosenGroup
from stead_controller.resources.instances.instance_reservations import ChosenReservations
from stead_controller.resources.instances.instance_tenancies import FoundTenancy
from stead_controller.resources.instances.launch_interfaces import InterfacePlan
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.launch_volumes import DiskPlan

# Each with the free memory of the roomiest host in its zone where the instance fits, by KVM or, without such, emulated.
_DEFAULT_SUBNETS: Final = Load(
    Subnet,
    select(
        *columns_of(Subnet),
        *rooms.roomiest(Subnet.zone),
    )
    .join(Vpc, Vpc.id == Subnet.vpc_id)
    .where(Vpc.account_id == bindparam("account_id"), Vpc.is_default.is_(True), Subnet.default_for_zone.is_(True)),
)


@dataclass(frozen=True, slots=True)
class Choices:
    """What all instances of a launch share; the first interface is the primary one."""

    image: Image
    type: InstanceType
    cpu_options: CpuOptions
    cpu_credits: str
    interfaces: tuple[InterfacePlan, ...]
    disks: DiskPlan
    public_key: str | None
    profile: IamInstanceProfile | None
    group: ChosenGroup | None = None
    reservations: ChosenReservations = field(default_factory=ChosenReservations)
    tenancy: Tenancy = SHARED

    @property
    def subnet(self) -> Subnet:
        """The subnet of the primary interface."""
        return self.interfaces[0].subnet


def choose(tx: Transaction, caller: Caller, cloud: Cloud, request: LaunchRequest) -> Choices:
    """Look up and check all that a launch names; raises BadRequest and NotFound as EC2 does."""
    kind = instance_types.find(tx, request.instance_type)
    if kind is None:
        raise InvalidParameter(f"Invalid value '{request.instance_type}' for InstanceType.")
    image_id = image_parameters.image_of(tx, request.image_id)
    launch_questions.ask_ahead(tx, caller, request, image_id)
    image = images.find_launchable(tx, caller, image_id)
    zone = _zone(cloud, request)
    check_offered(tx, kind, zone)
    check_image(image, kind)
    check_ebs_optimized(kind, wanted=request.ebs_optimized)
    cpus = cpu_options.settle(kind, request.cpu_options)
    need = instance_needs.planned(image, kind, cpus)
    tenancy = instance_tenancies.find(tx, caller, request.tenancy, kind)
    wanted_mode = instance_tenancies.settle_credits(tenancy.kind, kind, request.cpu_credits)
    mode = credit_specifications.settle(tx, caller.account_id, kind, wanted_mode)
    group = instance_groups.choose(tx, caller, request.group, kind)
    reservations = instance_reservations.find(tx, caller, request.reservation, kind.name, spot=request.spot)
    home = zone or instance_groups.cluster_zone(tx, group)
    better = tenancy.zone or reservations.zone(request.min_count)
    interfaces = launch_interfaces.plan(
        tx,
        caller,
        request.interface_requests,
        kind,
        many=request.max_count > 1,
        find_subnet=partial(_subnet, tx, caller, cloud, home, need=need, tenancy=tenancy, better=better),
    )
    _check_zone(zone, interfaces[0].subnet)
    instance_groups.check_zone(tx, group, interfaces[0].subnet.zone)
    disks = launch_volumes.plan(tx, caller, image, kind, request.block_devices, cloud=cloud)
    launch_volumes.check_number(kind, disks, len(interfaces))
    if request.hibernation:
        hibernation.check_launch(kind, image, disks.volumes[0])
    profile = None if request.profile is None else profile_associations.find(tx, caller.account_id, request.profile)
    key = public_key(tx, caller, request.key_name)
    settled = tenancy.within(interfaces[0].subnet)
    instance_tenancies.check_group(settled.kind, group.group if group is not None else None)
    reserved = reservations.within(interfaces[0].subnet.zone, settled)
    return Choices(image, kind, cpus, mode, interfaces, disks, key, profile, group, reserved, settled)


def check_offered(tx: Transaction, kind: InstanceType, zone: str | None) -> None:
    """Raise Unsupported for a type that is known and not offered here, or not in that zone."""
    if not devices.Offer(tx).has_in(kind, zone):
        where = f"Availability Zone ({zone})" if zone else "Region"
        raise Unsupported(
            f"Your requested instance type ({kind.name}) is not supported in your requested {where}.",
            code="Unsupported",
        )


def check_image(image: Image, kind: InstanceType) -> None:
    """Raise InvalidParameter for a type that cannot run an image."""
    if image.architecture != kind.architecture:
        raise InvalidParameter(
            f"The architecture '{kind.architecture}' of the specified instance type does not match the architecture "
            f"'{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again. You can use 'describe-instance-types' or 'describe-images' to discover the "
            "architecture of the instance type or AMI."
        )


def check_ebs_optimized(kind: InstanceType, *, wanted: bool) -> None:
    """Raise Unsupported for a type that promises its disks no bandwidth of their own."""
    if wanted and kind.ebs_optimized == "unsupported":
        raise Unsupported(
            f"EBS-optimized instances are not supported for the instance type {kind.name}.", code="Unsupported"
        )


def _zone(cloud: Cloud, request: LaunchRequest) -> str | None:
    """Return the name of the zone that a launch names, or whose id it gives."""
    if request.zone_id is None:
        return request.zone
    if request.zone is not None:
        raise InvalidCombination("The parameters AvailabilityZone and AvailabilityZoneId cannot be used together")
    return next((zone for zone, known in zone_ids(cloud).items() if known == request.zone_id), request.zone_id)


def _subnet(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    zone: str | None,
    subnet_id: str | None,
    *,
    need: Need,
    tenancy: FoundTenancy,
    better: str | None,
) -> Subnet:
    if zone is not None and zone not in cloud.zones:
        raise InvalidParameter(f"Invalid availability zone: [{zone}]")
    if subnet_id is None:
        return _default_subnet(tx, caller, cloud, zone, need, tenancy=tenancy, better=better)
    return lookup.find(tx, caller, "subnet", Subnet, subnet_id)


def _check_zone(zone: str | None, subnet: Subnet) -> None:
    if zone not in (None, subnet.zone):
        raise InvalidParameter(f"The availability zone '{zone}' does not match the subnet's, which is '{subnet.zone}'")


def _default_subnet(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    zone: str | None,
    need: Need,
    *,
    tenancy: FoundTenancy,
    better: str | None,
) -> Subnet:
    """Return the account's default subnet in a zone or, without one, in the zone that suits the instance best.

    That is the zone that is `better` for its capacity reservations or Dedicated Hosts, if there is one, then one with a
    host that has room for it, by KVM if there is any; of several such zones the one with the roomiest host and, where
    placement packs, with the subnet of which fewest addresses were given. Where no zone has room, it is one with Spot
    Instances, which may be interrupted for others, or one with hosts that take instances: what they lack is said.
    """
    shares = Tenancy(tenancy.kind, caller.account_id)
    asked = {"account_id": caller.account_id, **rooms.asked_by(need, shares)}
    rows = _DEFAULT_SUBNETS.with_more(tx.session, asked)
    found: list[tuple[Subnet, int | None, int | None]] = [(subnet, *roomiest) for subnet, roomiest in rows]
    if not found:
        raise InvalidParameter(
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.",
            code="VPCIdNotSpecified",
        )

    def rank(choice: tuple[Subnet, int | None, int | None]) -> tuple[bool, bool, bool, int, int, int]:
        subnet, by_kvm, emulated = choice
        roomiest = 0 if cloud.placement == "pack" else (by_kvm or emulated or 0)
        order = subnet.next_turn, cloud.zones.index(subnet.zone)
        return subnet.zone != better, by_kvm is None, emulated is None, -roomiest, *order

    zones: Collection[str] = (zone,) if zone else cloud.zones
    if (need.devices or need.cores or need.architecture != EVERYWHERE) and not zone:
        zones = devices.Offer(tx).zones(need.architecture, need.devices, need.cores)
    known = [choice for choice in found if choice[0].zone in zones]
    if not known:
        raise InvalidParameter(f"No default subnet for availability zone: '{zone}'.", code="MissingInput")
    best = min(known, key=rank)
    if best[0].zone != better and best[1] is None and best[2] is None:
        likely = spot_interruptions.zones(tx, zones) or rooms.open_zones(tx)
        best = min((choice for choice in known if choice[0].zone in likely), key=rank, default=best)
    return best[0]


def public_key(tx: Transaction, caller: Caller, key_name: str | None) -> str | None:
    """Return the public key of the key pair that a launch names, if any; raises NotFound."""
    if key_name is None:
        return None
    query = select(KeyPair.public_key).where(KeyPair.account_id == caller.account_id, KeyPair.name == key_name)
    found = tx.session.scalar(query)
    if found is None:
        raise NotFound("key-pair", key_name)
    return found
