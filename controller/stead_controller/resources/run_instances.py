"""RunInstances: check everything, reserve room and addresses, write the rows and the hosts' outbox, in one transaction.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import insert

from stead_controller.db.tables import (
    Instance,
    InterfaceGroup,
    NetworkInterface,
    Reservation,
    Tag,
    Volume,
)
from stead_controller.errors import InvalidCombination, InvalidParameter, NoCapacity
from stead_controller.hosts import desired_state
from stead_controller.placement.choose_host import Need
from stead_controller.resources import addresses, capacity, client_tokens, private_addresses
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.launch_choices import Choices, choose
from stead_controller.resources.transaction import Transaction
from stead_proto import ids, limits

_OPERATION: Final = "RunInstances"
_MOST_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class RootVolume:
    """What the caller asks of the root disk; None where the image or EC2's default decides. `size` is in GiB."""

    size: int | None = None
    volume_type: str = "gp3"
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool = False
    delete_on_termination: bool = True


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """InstanceMetadataOptionsRequest, with EC2's defaults."""

    enabled: bool = True
    tokens_required: bool = False
    hop_limit: int = 1
    tags: bool = False


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """RunInstances, parsed; `tags` are by resource type, `digest` that of all parameters (for ClientToken)."""

    image_id: str
    instance_type: str
    min_count: int
    max_count: int
    key_name: str | None = None
    user_data: bytes | None = None
    client_token: str = ""
    digest: str = ""
    subnet_id: str | None = None
    zone: str | None = None
    private_address: str | None = None
    associate_public_address: bool | None = None
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    interface_description: str = ""
    delete_interface_on_termination: bool = True
    root: RootVolume = field(default_factory=RootVolume)
    root_device_name: str | None = None
    shutdown_behavior: str = "stop"
    disable_api_termination: bool = False
    disable_api_stop: bool = False
    ebs_optimized: bool = False
    monitoring: bool = False
    metadata: MetadataOptions = field(default_factory=MetadataOptions)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Launch:
    """What the instances of one call have in common."""

    caller: Caller
    cloud: Cloud
    request: LaunchRequest
    choices: Choices
    reservation_id: str
    now: datetime


def run_instances(tx: Transaction, caller: Caller, cloud: Cloud, request: LaunchRequest, now: datetime) -> str:
    """Launch instances and give the id of their reservation; a repeated ClientToken gives the first one's.

    Raises a BadRequest or NotFound for bad input, NoCapacity when fewer than `min_count` fit, IdempotencyMismatch.
    """
    _check_request(request)
    if request.client_token:
        known = client_tokens.replay(tx, caller, _OPERATION, request.client_token, digest=request.digest, now=now)
        if known is not None:
            return known
    choices = choose(tx, caller, cloud, request)
    launch = _Launch(caller, cloud, request, choices, ids.new_id("reservation"), now)
    tx.session.add(Reservation(id=launch.reservation_id, account_id=caller.account_id, created=now))
    launched: dict[str, list[Instance]] = defaultdict(list)
    for index in range(request.max_count):
        host_id = _reserve(tx, choices, index, request.min_count)
        if host_id is None:
            break
        launched[host_id].append(_add_instance(tx, launch, host_id, index))
    for host_id, instances in launched.items():
        desired_state.refresh_instances(tx, host_id, instances)
        tx.events.update(instance.id for instance in instances)
    if request.client_token:
        client_tokens.remember(
            tx,
            caller,
            _OPERATION,
            request.client_token,
            digest=request.digest,
            resource_id=launch.reservation_id,
            now=now,
        )
    return launch.reservation_id


def _check_request(request: LaunchRequest) -> None:
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
    if request.private_address is not None and request.max_count > 1:
        raise InvalidCombination("A private address can be given to one instance only")
    if request.shutdown_behavior not in ("stop", "terminate"):
        raise InvalidParameter(
            f"Value ({request.shutdown_behavior}) for parameter instanceInitiatedShutdownBehavior is invalid"
        )
    if not 1 <= request.metadata.hop_limit <= 64:
        raise InvalidParameter(
            f"Value ({request.metadata.hop_limit}) for parameter HttpPutResponseHopLimit is invalid. It must be 1 to 64"
        )


def _reserve(tx: Transaction, choices: Choices, index: int, least: int) -> str | None:
    """Reserve room for one more instance; None when there is no more, but enough were launched."""
    need = Need(choices.type.vcpus, choices.type.memory, choices.image.architecture)
    try:
        return capacity.reserve_any(tx, need, choices.subnet.zone).host_id
    except NoCapacity:
        if index < least:
            raise
        return None


def _add_instance(tx: Transaction, launch: _Launch, host_id: str, index: int) -> Instance:
    """Add the rows of one instance, its root volume and its interface."""
    instance = _instance(launch, host_id, index)
    interface = _interface(tx, launch, instance)
    instance.private_address = interface.private_address
    volume = _root_volume(launch, instance)
    tx.session.add_all([instance, interface, volume])
    tx.session.flush()
    tx.session.execute(
        insert(InterfaceGroup),
        [{"interface_id": interface.id, "group_id": group} for group in launch.choices.group_ids],
    )
    if launch.choices.public_address:
        account_id = launch.caller.account_id
        instance.public_address = addresses.take_public(tx, launch.cloud, account_id, interface, launch.now)
    _add_tags(tx, launch, {"instance": instance.id, "volume": volume.id, "network-interface": interface.id})
    return instance


def _instance(launch: _Launch, host_id: str, index: int) -> Instance:
    request, choices = launch.request, launch.choices
    image = choices.image
    kind = choices.type
    return Instance(
        id=ids.new_id("instance"),
        account_id=launch.caller.account_id,
        reservation_id=launch.reservation_id,
        image_id=image.id,
        instance_type=kind.name,
        vcpus=kind.vcpus,
        memory=kind.memory,
        architecture=image.architecture,
        boot_mode=image.boot_mode,
        state="pending",
        state_changed=launch.now,
        host_id=host_id,
        zone=choices.subnet.zone,
        vpc_id=choices.subnet.vpc_id,
        subnet_id=choices.subnet.id,
        key_name=request.key_name,
        public_key=choices.public_key,
        launch_time=launch.now,
        launch_index=index,
        user_data=request.user_data,
        client_token=request.client_token,
        root_device_name=image.root_device_name,
        shutdown_behavior=request.shutdown_behavior,
        disable_api_termination=request.disable_api_termination,
        disable_api_stop=request.disable_api_stop,
        ebs_optimized=request.ebs_optimized,
        monitoring=request.monitoring,
        metadata_enabled=request.metadata.enabled,
        metadata_tokens_required=request.metadata.tokens_required,
        metadata_hop_limit=request.metadata.hop_limit,
        metadata_tags=request.metadata.tags,
    )


def _interface(tx: Transaction, launch: _Launch, instance: Instance) -> NetworkInterface:
    request, subnet = launch.request, launch.choices.subnet
    interface_id = ids.new_id("network-interface")
    return NetworkInterface(
        id=interface_id,
        account_id=instance.account_id,
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        zone=subnet.zone,
        description=request.interface_description,
        mac_address=addresses.new_mac(tx),
        private_address=private_addresses.take(tx, subnet, interface_id, request.private_address, primary=True),
        status="in-use",
        created=launch.now,
        host_id=instance.host_id,
        instance_id=instance.id,
        attachment_id=ids.new_id("network-interface-attachment"),
        device_index=0,
        attachment_state="attached",
        attach_time=launch.now,
        delete_on_termination=request.delete_interface_on_termination,
        associate_public_address=launch.choices.public_address,
    )


def _root_volume(launch: _Launch, instance: Instance) -> Volume:
    root, image = launch.request.root, launch.choices.image
    least = -(-image.virtual_size // (1 << 30))
    return Volume(
        id=ids.new_id("volume"),
        account_id=instance.account_id,
        zone=instance.zone,
        host_id=instance.host_id,
        size=root.size if root.size is not None else least,
        volume_type=root.volume_type,
        iops=root.iops or (3000 if root.volume_type == "gp3" else None),
        throughput=root.throughput or (125 if root.volume_type == "gp3" else None),
        image_id=image.id,
        snapshot_id=image.snapshot_id,
        state="in-use",
        created=launch.now,
        instance_id=instance.id,
        device_name=image.root_device_name,
        attachment_state="attached",
        attach_time=launch.now,
        delete_on_termination=root.delete_on_termination,
    )


def _add_tags(tx: Transaction, launch: _Launch, made: Mapping[str, str]) -> None:
    rows = [
        {
            "resource_id": resource_id,
            "key": key,
            "value": value,
            "account_id": launch.caller.account_id,
            "resource_type": resource_type,
        }
        for resource_type, resource_id in made.items()
        for key, value in launch.request.tags.get(resource_type, {}).items()
    ]
    if rows:
        tx.session.execute(insert(Tag), rows)
