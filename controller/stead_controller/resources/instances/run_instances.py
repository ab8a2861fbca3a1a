"""RunInstances: check everything, reserve room and addresses, write the rows and the hosts' outbox, in one transaction.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stead_controller.catalog import cpu_credits, ids
from stead_controller.db.insert import insert_new, new_row
from stead_controller.db.tables import Instance, Reservation
from stead_controller.desired import desired_state
from stead_controller.desired.messages.instance import Parts
from stead_controller.errors import InvalidCombination, InvalidParameter, LimitExceeded, NoCapacity
from stead_controller.placement.cores import needed
from stead_controller.request import client_tokens
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.host_capacity import cores, slot_usage
from stead_controller.resources.host_capacity.capacity import Place
from stead_controller.resources.instances import (
    credit_specifications,
    instance_reservations,
    instance_tenancies,
    launch_interfaces,
    launch_volumes,
    metadata_options,
    profile_associations,
    spot_instances,
    spot_prices,
)
from stead_controller.resources.instances.launch_belongings import LaunchBelongings
from stead_controller.resources.instances.launch_choices import Choices, choose
from stead_controller.resources.instances.launch_places import LaunchPlaces
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.metadata_options import SettledOptions
from stead_controller.resources.network import address_pools as addresses
from stead_controller.resources.network import interface_groups, private_names
from stead_controller.resources.storage import volume_keys, volume_usage
from stead_proto import limits

_OPERATION: Final = "RunInstances"
_MOST_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class _Launch:
    """What the instances of one call have in common."""

    caller: Caller
    cloud: Cloud
    request: LaunchRequest
    choices: Choices
    metadata: SettledOptions
    tags: Mapping[str, Mapping[str, str]]
    belongings: LaunchBelongings
    reservation_id: str
    credited: int  # so many of them are given CPU credits
    now: datetime


@dataclass(frozen=True, slots=True)
class Launched:
    """A reservation with its instances and their parts, which a repeated ClientToken does not have."""

    reservation_id: str
    made: Sequence[tuple[Instance, Parts]] = ()


def run_instances(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    request: LaunchRequest,
    now: datetime,
    *,
    choices: Choices | None = None,
) -> str:
    """Launch instances as `launch` does, and return the id of their reservation."""
    return launch(tx, caller, cloud, request, now, choices=choices).reservation_id


def launch(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    request: LaunchRequest,
    now: datetime,
    *,
    choices: Choices | None = None,
) -> Launched:
    """Launch instances and return their reservation; a repeated ClientToken gives the first one's.

    `choices` are those of this request, if they were made in this transaction already.
    Raises a BadRequest or NotFound for bad input, NoCapacity when fewer than `min_count` fit, IdempotencyMismatch.
    """
    check_request(request)
    if request.client_token:
        known = client_tokens.replay(tx, caller, _OPERATION, request.client_token, digest=request.digest, now=now)
        if known is not None:
            return Launched(known)
    if choices is None:
        choices = choose(tx, caller, cloud, request)
    if request.max_price is not None:
        spot_prices.check_maximum(tx, cloud, choices.type.name, request.max_price, now)
    metadata = metadata_options.settle(tx, caller.account_id, request.metadata, choices.image.imds_support)
    if metadata.tags:
        tags.check_metadata_keys(request.tags.get("instance", ()))
    reservation_id = ids.new_id("reservation")
    credited = credit_specifications.launches_left(tx, caller.account_id, choices.type, choices.cpu_credits, now)
    belongings = LaunchBelongings(tx, choices.interfaces)
    common = _Launch(
        caller, cloud, request, choices, metadata, request.all_tags, belongings, reservation_id, credited, now
    )
    insert_new(tx.session, new_row(Reservation, id=reservation_id, account_id=caller.account_id, created=now))
    launched: dict[str, list[Instance]] = defaultdict(list)
    made: dict[str, Parts] = {}
    places = LaunchPlaces(tx, cloud, caller.account_id, choices, spot=request.spot, now=now)
    for index in range(places.allowed(request.min_count, request.max_count)):
        place = _next(places, index, request.min_count)
        if place is None:
            break
        instance, made_for_it = _add_instance(tx, common, place, index)
        launched[place.host_id].append(instance)
        made[instance.id] = made_for_it
    tx.gathers = True  # the other hosts of a VPC only get the locations of the new instances, which boot first
    everything = [instance for instances in launched.values() for instance in instances]
    credit_specifications.count_launches(tx, caller.account_id, min(credited, len(everything)), now)
    for host_id, instances in launched.items():
        desired_state.refresh_instances(tx, host_id, instances, made)
        tx.events.update(instance.id for instance in instances)
    quotas.use_vcpus(tx, caller.account_id, choices.cpu_options.vcpus * places.outside)
    for used_id in sorted({one.capacity_reservation_id for one in everything if one.capacity_reservation_id}):
        slot_usage.measure(tx, used_id, now)
    if request.client_token:
        client_tokens.remember(
            tx,
            caller,
            _OPERATION,
            request.client_token,
            digest=request.digest,
            resource_id=reservation_id,
            now=now,
        )
    return Launched(reservation_id, [(instance, made[instance.id]) for instance in everything])


def check_request(request: LaunchRequest) -> None:
    """Raise InvalidParameter or InvalidCombination for what no cloud could launch."""
    if request.min_count < 1 or request.max_count < 1:
        raise InvalidParameter("The minimum and maximum number of instances must be at least 1")
    if request.min_count > request.max_count:
        raise InvalidParameter(
            f"Value ({request.min_count}) for parameter minCount is invalid. It must not exceed maxCount"
        )
    if request.max_count > _MOST_AT_ONCE:
        raise InvalidParameter(f"Value ({request.max_count}) for parameter maxCount is invalid. Most: {_MOST_AT_ONCE}")
    if request.user_data is not None and len(request.user_data) > limits.USER_DATA_BYTES:
        raise InvalidParameter(f"User data is limited to {limits.USER_DATA_BYTES} bytes")
    if request.group_names and request.subnet_id is not None:
        raise InvalidCombination("The parameter groupName cannot be used with the parameter subnet")
    if request.shutdown_behavior not in ("stop", "terminate"):
        raise InvalidParameter(
            f"Value ({request.shutdown_behavior}) for parameter instanceInitiatedShutdownBehavior is invalid"
        )
    if request.spot:
        spot_instances.check_request(request)
    request.names.check("hostnameType")
    metadata_options.check_hop_limit(request.metadata.hop_limit)
    if request.cpu_credits is not None:
        credit_specifications.check_mode(request.cpu_credits)
    instance_reservations.check(request.reservation)
    instance_tenancies.check(request.tenancy)


def _next(places: LaunchPlaces, index: int, least: int) -> Place | None:
    """Reserve the place of one more instance; None when there is none left, but enough were launched."""
    try:
        return places.next()
    except NoCapacity as refusal:
        if index < least:
            raise places.refusal(refusal, least - index) from refusal
    except LimitExceeded:
        if index < least:
            raise
    return None


def _add_instance(tx: Transaction, launch: _Launch, place: Place, index: int) -> tuple[Instance, Parts]:
    """Add the rows of one instance, its disks and its interfaces, in the order in which its host gets them."""
    instance = _instance(launch, place, index)
    choices = launch.choices
    plans = choices.interfaces
    interfaces = launch_interfaces.build(tx, launch.caller, instance, plans, launch.now)
    primary = interfaces[0]
    instance.private_address = primary.private_address
    volumes = launch_volumes.build_volumes(launch.cloud, instance, choices.disks, place.pools, launch.now)
    made = [("instance", instance.id), *(("volume", volume.id) for volume in volumes)]
    for plan, interface in zip(plans, interfaces, strict=True):
        if plan.existing is None:
            interface_groups.join(tx, interface.id, plan.group_ids)
            made.append(("network-interface", interface.id))
    if plans[0].public:
        account_id = launch.caller.account_id
        instance.public_address = addresses.take_public(tx, launch.cloud, account_id, primary, launch.now)
    elif plans[0].existing is not None:
        instance.public_address = addresses.public_of(tx, primary)
    for row in (instance, *volumes):
        insert_new(tx.session, row)
    for volume in volumes:
        volume_usage.begin(tx, volume, launch.now)
    if instance.spot_request_id is not None:
        if launch.request.spot_request_ids:
            spot_instances.fulfil_request(tx, instance)
        else:
            spot_instances.add_request(tx, instance)
            made.append(("spot-instances-request", instance.spot_request_id))
    if not instance_reservations.take_devices(tx, place.host_id, instance, choices.type.devices):
        raise NoCapacity("The devices of that instance type were just given to another instance.")
    options = choices.cpu_options
    need = needed(choices.type, options.cores, options.threads_per_core)
    if not cores.take(tx, place.host_id, instance.id, need):
        raise NoCapacity("The cores that an instance of that type has alone were just given to another instance.")
    tx.session.add_all(launch_volumes.build_scratch(instance, choices.type, choices.disks.scratch))
    if choices.profile is not None:
        profile_associations.give(tx, launch.cloud, instance, choices.profile, launch.now)
    tags.create_on_launch(tx, launch.caller, made, launch.tags)
    volumes.sort(key=lambda volume: (volume.device_name, volume.id))
    belongings = {}
    for plan, interface in zip(plans, interfaces, strict=True):
        known = launch.belongings.of(plan, instance.public_address if plan.public else None)
        if known is not None:
            belongings[interface.id] = known
    return instance, Parts(interfaces, volumes, launch.tags.get("instance", {}), belongings)


def _instance(launch: _Launch, place: Place, index: int) -> Instance:
    request, choices = launch.request, launch.choices
    image = choices.image
    kind = choices.type
    return new_row(
        Instance,
        id=ids.new_id("instance"),
        account_id=launch.caller.account_id,
        reservation_id=launch.reservation_id,
        image_id=image.id,
        instance_type=kind.name,
        vcpus=choices.cpu_options.vcpus,
        threads_per_core=choices.cpu_options.threads_per_core,
        cpu_credits=choices.cpu_credits,
        launch_credits=cpu_credits.launch_credits(kind) if index < launch.credited else 0,
        memory=kind.memory,
        architecture=image.architecture,
        boot_mode=image.boot_mode,
        uefi_data=image.uefi_data,
        sealed_tpm_key=volume_keys.new_key(launch.cloud, "").sealed if image.tpm_support else None,
        state="pending",
        state_changed=launch.now,
        host_id=place.host_id,
        zone=choices.subnet.zone,
        vpc_id=choices.subnet.vpc_id,
        subnet_id=choices.subnet.id,
        key_name=request.key_name,
        public_key=choices.public_key,
        launch_time=launch.now,
        launch_index=index,
        user_data=request.user_data,
        identity_issued=launch.now,
        client_token=request.client_token,
        root_device_name=image.root_device_name,
        shutdown_behavior=request.shutdown_behavior,
        disable_api_termination=request.disable_api_termination,
        disable_api_stop=request.disable_api_stop,
        ebs_optimized=request.ebs_optimized,
        hibernation=request.hibernation,
        target_lifecycle_state=request.target_lifecycle_state,
        monitoring=request.monitoring,
        auto_recovery=request.auto_recovery,
        metadata_enabled=launch.metadata.enabled,
        metadata_tokens_required=launch.metadata.tokens_required,
        metadata_hop_limit=launch.metadata.hop_limit,
        metadata_tags=launch.metadata.tags,
        metadata_ipv6=launch.metadata.ipv6,
        metadata_pending=True,
        placement_group_id=choices.group.group.id if choices.group is not None else None,
        placement_group_name=choices.group.group.name if choices.group is not None else "",
        partition_number=place.partition,
        spot_request_id=_spot_request_id(request, index),
        tenancy=choices.tenancy.kind,
        dedicated_host_id=place.dedicated_host_id,
        host_affinity=request.tenancy.affinity or "default",
        capacity_reservation_id=place.reservation_id,
        reservation_preference=request.reservation.settled.preference,
        reservation_target=request.reservation.target,
        **private_names.settle(request.names, choices.subnet),
    )


def _spot_request_id(request: LaunchRequest, index: int) -> str | None:
    """Return the id of the request for a Spot Instance; None for one on demand."""
    if not request.spot:
        return None
    return request.spot_request_ids[index] if request.spot_request_ids else ids.new_id("spot-instances-request")
