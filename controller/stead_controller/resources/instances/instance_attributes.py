"""Attributes of one instance: read one at a time, changed one at a time.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceAttribute.html.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import Instance, InterfaceGroup, NetworkInterface, PlacementGroup, SecurityGroup, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, MissingParameter, Unsupported, WrongState
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.host_capacity import devices
from stead_controller.resources.instances import (
    credit_specifications,
    hibernation,
    instance_groups,
    instances,
    launch_choices,
    launch_volumes,
    metadata_options,
    spot_instances,
)
from stead_controller.resources.network import interface_groups, network_interface_attachments
from stead_proto import limits

_ENDED: Final = ("shutting-down", "terminated")


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Whether the volume at a device is deleted with the instance."""

    device_name: str
    delete_on_termination: bool


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """Metadata options that a request sets; None leaves an option as it is."""

    enabled: bool | None = None
    tokens_required: bool | None = None
    hop_limit: int | None = None
    tags: bool | None = None
    ipv6: bool | None = None


@dataclass(frozen=True, slots=True)
class DescribedAttribute:
    """One attribute by EC2's name, and its value: text, bool, bytes, rows of volumes, or ids and names of groups.

    None is the value of an attribute that the instance does not have.
    """

    instance_id: str
    attribute: str
    value: Any


def describe(tx: Transaction, caller: Caller, instance_id: str, attribute: str) -> DescribedAttribute:
    """Find one attribute; raises MalformedId, NotFound, InvalidParameter for an unknown attribute."""
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    read = _READERS.get(attribute)
    if read is None:
        raise InvalidParameter(f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute.")
    return DescribedAttribute(instance.id, attribute, read(tx, instance))


def _groups(tx: Transaction, instance: Instance) -> list[tuple[str, str]]:
    network_interface_attachments.refuse_several(tx, instance)
    query = (
        select(SecurityGroup.id, SecurityGroup.name)
        .join(InterfaceGroup, InterfaceGroup.group_id == SecurityGroup.id)
        .join(NetworkInterface, NetworkInterface.id == InterfaceGroup.interface_id)
        .where(NetworkInterface.instance_id == instance.id)
        .order_by(SecurityGroup.id)
    )
    return [(group_id, name) for group_id, name in tx.session.execute(query)]


def _source_dest_check(tx: Transaction, instance: Instance) -> bool | None:
    network_interface_attachments.refuse_several(tx, instance)
    query = select(NetworkInterface.source_dest_check).where(NetworkInterface.instance_id == instance.id)
    return tx.session.scalar(query)


_READERS: Final[dict[str, Callable[[Transaction, Instance], Any]]] = {
    "blockDeviceMapping": lambda tx, instance: instances.volumes_of(tx, instance.id),
    "disableApiStop": lambda _, instance: instance.disable_api_stop,
    "disableApiTermination": lambda _, instance: instance.disable_api_termination,
    "ebsOptimized": lambda _, instance: instance.ebs_optimized,
    "enaSupport": lambda _, __: True,
    "enclaveOptions": lambda _, __: False,
    "groupSet": _groups,
    "instanceInitiatedShutdownBehavior": lambda _, instance: instance.shutdown_behavior,
    "instanceType": lambda _, instance: instance.instance_type,
    "kernel": lambda _, __: None,
    "productCodes": lambda _, __: (),
    "ramdisk": lambda _, __: None,
    "rootDeviceName": lambda _, instance: instance.root_device_name,
    "sourceDestCheck": _source_dest_check,
    "sriovNetSupport": lambda _, __: None,
    "userData": lambda _, instance: instance.user_data,
}


def set_instance_type(tx: Transaction, caller: Caller, instance_id: str, name: str) -> None:
    """Give a stopped instance another type; raises MalformedId, NotFound, InvalidParameter, WrongState.

    Its CPU options become the type's. Raises Unsupported for a Spot Instance, LimitExceeded when the instance has more
    interfaces, or addresses of one, than the type may have, InvalidCombination when it is in a group in which the type
    cannot be.
    """
    kind = instance_types.find(tx, name)
    if kind is None:
        raise InvalidParameter(f"Invalid value '{name}' for InstanceType.", code="InvalidInstanceAttributeValue")
    if not devices.Offer(tx).has(kind):
        raise Unsupported(f"The instance type '{name}' is not supported in this Region.", code="Unsupported")
    instance = _find_stopped(tx, caller, instance_id)
    spot_instances.require_on_demand(instance, "instanceType")
    hibernation.require_awake(instance, "change its type")
    if instance.architecture != kind.architecture:
        raise InvalidParameter(
            f"The architecture '{kind.architecture}' of the specified instance type does not match the architecture "
            f"'{instance.architecture}' of the instance."
        )
    launch_choices.check_ebs_optimized(kind, wanted=instance.ebs_optimized)
    if instance.placement_group_id is not None:
        instance_groups.check_type(tx.session.get_one(PlacementGroup, instance.placement_group_id), kind)
    interfaces = tx.session.scalars(select(NetworkInterface).where(NetworkInterface.instance_id == instance.id)).all()
    network_interface_attachments.check_number(kind, len(interfaces))
    for interface in interfaces:
        network_interface_attachments.check_addresses(tx, interface, kind)
    volumes = select(Volume.device_name).where(Volume.instance_id == instance.id)
    names = [name for name in tx.session.scalars(volumes) if name is not None]
    launch_volumes.change_scratch(tx, instance, kind, names)
    instance.cpu_credits = credit_specifications.after_type_change(tx, instance, kind)
    instance.instance_type, instance.vcpus, instance.memory = kind.name, kind.vcpus, kind.memory
    instance.threads_per_core = kind.threads_per_core
    desired_state.refresh_instance(tx, instance.id)


def set_user_data(tx: Transaction, caller: Caller, instance_id: str, user_data: bytes) -> None:
    """Give a stopped instance other user data, none when empty.

    Raises MalformedId, NotFound, InvalidParameter, WrongState.
    """
    if len(user_data) > limits.USER_DATA_BYTES:
        raise InvalidParameter(f"User data is limited to {limits.USER_DATA_BYTES} bytes")
    instance = _find_stopped(tx, caller, instance_id)
    instance.user_data = user_data or None
    desired_state.refresh_instance(tx, instance.id)


def set_ebs_optimized(tx: Transaction, caller: Caller, instance_id: str, value: bool) -> None:
    """Set whether a stopped instance is EBS-optimized; raises MalformedId, NotFound, WrongState, Unsupported."""
    instance = _find_stopped(tx, caller, instance_id)
    kind = instance_types.find(tx, instance.instance_type)
    if kind is not None:  # else an own type that was removed
        launch_choices.check_ebs_optimized(kind, wanted=value)
    instance.ebs_optimized = value


def set_termination_protection(tx: Transaction, caller: Caller, instance_id: str, value: bool) -> None:
    """Set whether TerminateInstances is refused; raises MalformedId, NotFound, WrongState, Unsupported."""
    instance = _find_alive(tx, caller, instance_id)
    if value:
        spot_instances.require_on_demand(instance, "disableApiTermination")
    instance.disable_api_termination = value


def set_stop_protection(tx: Transaction, caller: Caller, instance_id: str, value: bool) -> None:
    """Set whether StopInstances is refused; raises MalformedId, NotFound, WrongState, Unsupported."""
    instance = _find_alive(tx, caller, instance_id)
    if value:
        spot_instances.require_on_demand(instance, "disableApiStop")
    instance.disable_api_stop = value


def set_shutdown_behavior(tx: Transaction, caller: Caller, instance_id: str, value: str) -> None:
    """Set what a guest's own shutdown means, `stop` or `terminate`.

    Raises MalformedId, NotFound, InvalidParameter, WrongState, Unsupported for a Spot Instance that is to stop.
    """
    if value not in ("stop", "terminate"):
        raise InvalidParameter(f"Value ({value}) for parameter instanceInitiatedShutdownBehavior is invalid.")
    instance = _find_alive(tx, caller, instance_id)
    if value == "stop":
        spot_instances.require_on_demand(instance, "instanceInitiatedShutdownBehavior")
    instance.shutdown_behavior = value


def set_auto_recovery(tx: Transaction, caller: Caller, instance_id: str, value: bool | None) -> bool:
    """Set whether an instance is recovered when its VM's process fails (None = unchanged), and return the setting.

    Raises MalformedId, NotFound, WrongState.
    """
    instance = _find_alive(tx, caller, instance_id)
    if value is not None:
        instance.auto_recovery = value
    return instance.auto_recovery


def set_source_dest_check(tx: Transaction, caller: Caller, instance_id: str, value: bool) -> None:
    """Set whether an instance may only send and receive as itself; raises MalformedId, NotFound, WrongState."""
    instance = _find_alive(tx, caller, instance_id)
    network_interface_attachments.only_one_of(tx, instance).source_dest_check = value
    desired_state.refresh_instance(tx, instance.id)


def set_groups(tx: Transaction, caller: Caller, instance_id: str, group_ids: Sequence[str]) -> None:
    """Put an instance into exactly these security groups; raises MalformedId, NotFound, LimitExceeded, WrongState."""
    if not group_ids:
        raise MissingParameter("GroupId")
    instance = _find_alive(tx, caller, instance_id)
    interface = network_interface_attachments.only_one_of(tx, instance)
    wanted = interface_groups.choose(tx, caller, instance.vpc_id, group_ids)
    interface_groups.replace(tx, interface, wanted)
    desired_state.refresh_instance(tx, instance.id)


def set_delete_on_termination(
    tx: Transaction, caller: Caller, instance_id: str, changes: Sequence[DeviceChange]
) -> None:
    """Set which attached volumes are deleted with the instance, all or none.

    Raises MalformedId, NotFound, InvalidParameter, WrongState.
    """
    instance = _find_alive(tx, caller, instance_id)
    query = select(Volume).where(Volume.instance_id == instance.id)
    volumes = {volume.device_name: volume for volume in tx.session.scalars(query)}
    for change in changes:
        if change.device_name not in volumes:
            raise InvalidParameter(
                f"No device is currently mapped at {change.device_name}", code="InvalidInstanceAttributeValue"
            )
    for change in changes:
        volumes[change.device_name].delete_on_termination = change.delete_on_termination


def set_metadata_options(tx: Transaction, caller: Caller, instance_id: str, change: MetadataChange) -> Instance:
    """Set options of an instance's metadata service and return it; they are pending until its host confirms them.

    Raises MalformedId, NotFound, InvalidParameter, WrongState, and Unsupported where the account enforces tokens.
    """
    metadata_options.check_hop_limit(change.hop_limit)
    instance = _find_alive(tx, caller, instance_id)
    metadata_options.check_change(tx, caller.account_id, tokens_required=change.tokens_required)
    if change.tags:
        tagged = tags.pairs_of(tx, caller.account_id, [instance.id])
        tags.check_metadata_keys(key for key, _ in tagged.get(instance.id, ()))
    for name in ("enabled", "tokens_required", "hop_limit", "tags", "ipv6"):
        value = getattr(change, name)
        if value not in (None, getattr(instance, f"metadata_{name}")):
            setattr(instance, f"metadata_{name}", value)
            instance.metadata_pending = instance.host_id is not None
    desired_state.refresh_instance(tx, instance.id)
    return instance


def _find_alive(tx: Transaction, caller: Caller, instance_id: str) -> Instance:
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if instance.state in _ENDED:
        raise WrongState("instance", f"The instance '{instance.id}' is not in a state in which it can be modified.")
    return instance


def _find_stopped(tx: Transaction, caller: Caller, instance_id: str) -> Instance:
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if instance.state != "stopped":
        raise WrongState("instance", f"The instance '{instance.id}' is not in the 'stopped' state.")
    return instance
