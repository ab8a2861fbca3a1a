"""Attach network interfaces to instances, running or stopped, and detach them.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select, update

from stead_controller.catalog import ids
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.prepared import Prepared, Question
from stead_controller.db.tables import Host, Instance, InterfaceAddress, NetworkInterface
from stead_controller.desired import desired_state, topics
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    NotFound,
    WrongState,
)
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import address_pools, interface_changes

_ATTACHING: Final = Prepared(
    select(NetworkInterface.instance_id).where(
        NetworkInterface.instance_id.in_(bindparam("ids", expanding=True)),
        NetworkInterface.attachment_state == "attaching",
    )
)


def attach(  # noqa: PLR0917 — what the operation asks
    tx: Transaction, caller: Caller, interface_id: str, instance_id: str, device_index: int, now: datetime
) -> str:
    """Attach an interface, of any VPC of the account, to a running or stopped instance; return the attachment's id.

    Raises MalformedId, NotFound, InvalidParameter, InvalidCombination, WrongState, LimitExceeded.
    """
    interface = lookup.find(tx, caller, "network-interface", NetworkInterface, interface_id)
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if instance.state not in ("running", "stopped"):
        raise WrongState("instance", f"Instance '{instance.id}' is not 'running' or 'stopped'.", code="IncorrectState")
    require_free(interface)
    if interface.zone != instance.zone:
        raise InvalidCombination(
            "You may not attach a network interface to an instance if they are not in the same availability zone"
        )
    present = tx.session.execute(
        select(NetworkInterface.id, NetworkInterface.device_index).where(NetworkInterface.instance_id == instance.id)
    ).all()
    if device_index < 0:
        raise InvalidParameter(f"Value ({device_index}) for parameter deviceIndex is invalid.")
    if device_index in {row.device_index for row in present}:
        raise InvalidParameter(
            f"Instance '{instance.id}' already has an interface attached at device index '{device_index}'."
        )
    kind = instance_types.find(tx, instance.instance_type)
    check_number(kind, len(present) + 1)
    check_addresses(tx, interface, kind)
    attachment_id = plug(interface, instance, device_index, now, state="attaching")
    interface_changes.changed(tx, interface)
    return attachment_id


def require_free(interface: NetworkInterface) -> None:
    """Raise WrongState (InvalidNetworkInterface.InUse) for an interface that is attached."""
    if interface.attachment_id is not None:
        raise WrongState(
            "network-interface", f"Interface: [{interface.id}] in use.", code="InvalidNetworkInterface.InUse"
        )


def check_number(kind: InstanceType | None, number: int) -> None:
    """Raise LimitExceeded when a type offers fewer interfaces; a type that is not known offers all."""
    if kind is not None and number > kind.max_interfaces:
        raise LimitExceeded(
            f"Interface count {number} exceeds the limit for {kind.name}", code="AttachmentLimitExceeded"
        )


def check_addresses(tx: Transaction, interface: NetworkInterface, kind: InstanceType | None) -> None:
    """Raise LimitExceeded when a type offers an interface fewer addresses than it has."""
    query = (
        select(InterfaceAddress.ipv6, func.count())
        .where(InterfaceAddress.interface_id == interface.id)
        .group_by(InterfaceAddress.ipv6)
    )
    for _, number in tx.session.execute(query):
        check_address_number(kind, number)


def check_address_number(kind: InstanceType | None, number: int) -> None:
    """Raise LimitExceeded when a type offers an interface fewer addresses of one family."""
    if kind is not None and number > kind.max_addresses:
        raise LimitExceeded(
            f"Number of private addresses will exceed limit ({kind.max_addresses} for {kind.name}).",
            code="PrivateIpAddressLimitExceeded",
        )


def plug(interface: NetworkInterface, instance: Instance, device_index: int, now: datetime, *, state: str) -> str:
    """Set the attachment in an interface's row, and return the attachment's id.

    The interface stays when the instance is terminated.
    """
    interface.status = "in-use"
    interface.host_id = instance.host_id
    interface.instance_id = instance.id
    attachment_id = ids.new_id("network-interface-attachment")
    interface.attachment_id = attachment_id
    interface.device_index = device_index
    interface.attachment_state = state
    interface.attach_time = now
    interface.delete_on_termination = False
    return attachment_id


def detach(tx: Transaction, caller: Caller, attachment_id: str, *, force: bool = False) -> None:
    """Begin to detach an interface; it is available when its host reports that it is removed.

    `force` does not wait for a host that is down. Raises MalformedId, NotFound, WrongState.
    """
    interface = find_attached(tx, caller, attachment_id)
    if interface.requester_managed:
        raise WrongState(
            "network-interface",
            "You are not allowed to manage 'ela-attach' attachments.",
            code="OperationNotPermitted",
        )
    if interface.device_index == 0:
        raise WrongState(
            "network-interface",
            "The network interface at device index 0 cannot be detached.",
            code="OperationNotPermitted",
        )
    if tx.session.get_one(Instance, interface.instance_id).memory_saved:
        words = f"The instance '{interface.instance_id}' is hibernated. Start it before you detach its interfaces."
        raise WrongState("instance", words, code="IncorrectState")
    host_id = interface.host_id
    interface.attachment_state = "detaching"
    interface_changes.changed(tx, interface)
    if host_id is None:
        settle_detached(tx, interface)
        return
    desired_state.remove_interface(tx, host_id, interface.id)
    if force and tx.session.get_one(Host, host_id).state != "up":
        settle_detached(tx, interface)


def find_attached(tx: Transaction, caller: Caller, attachment_id: str) -> NetworkInterface:
    """Return the caller's interface by the id of its attachment; raises MalformedId, NotFound."""
    lookup.check_form("network-interface-attachment", [attachment_id])
    found = tx.session.scalar(
        select(NetworkInterface).where(
            NetworkInterface.attachment_id == attachment_id, NetworkInterface.account_id == caller.account_id
        )
    )
    if found is None:
        raise NotFound("network-interface-attachment", attachment_id)
    return found


def only_one_of(tx: Transaction, instance: Instance) -> NetworkInterface:
    """Return the only interface of an instance; with several, EC2 requires an interface id.

    Raises InvalidParameter, NotFound.
    """
    refuse_several(tx, instance)
    found = tx.session.scalars(select(NetworkInterface).where(NetworkInterface.instance_id == instance.id)).all()
    if not found:
        raise NotFound("network-interface", instance.id)
    return found[0]


def refuse_several(tx: Transaction, instance: Instance) -> None:
    """Raise InvalidParameter (InvalidInstanceID) for an instance with several interfaces."""
    query = select(NetworkInterface.id).where(NetworkInterface.instance_id == instance.id).limit(2)
    if len(tx.session.scalars(query).all()) > 1:
        raise InvalidParameter(
            f"There are multiple interfaces attached to instance '{instance.id}'. Please specify an interface ID for "
            "the operation instead.",
            code="InvalidInstanceID",
        )


def waiting_question(instance_ids: Sequence[str]) -> Question:
    """Return what `waiting` asks, so that the database can answer it with others."""
    return _ATTACHING, {"ids": instance_ids}


def waiting(tx: Transaction, instance_ids: Collection[str]) -> set[str]:
    """Return those of some instances for which `settle_attached` would change something."""
    return set(_ATTACHING.scalars(tx.connection, {"ids": list(instance_ids)}))


def settle_attached(tx: Transaction, instance_id: str) -> None:
    """Record that an instance's VM has all the interfaces of its desired state."""
    tx.session.execute(
        update(NetworkInterface)
        .where(NetworkInterface.instance_id == instance_id, NetworkInterface.attachment_state == "attaching")
        .values(attachment_state="attached")
    )


def settle_detached(tx: Transaction, interface: NetworkInterface) -> None:
    """Record that an interface is detached; it keeps its addresses and groups."""
    host_id, vpc_id = interface.host_id, interface.vpc_id
    unplug(interface)
    interface_changes.changed(tx, interface)
    if host_id is not None:
        topics.refresh_host(tx, vpc_id, host_id)


def end_with_instance(tx: Transaction, interface: NetworkInterface, now: datetime) -> None:
    """Record that an interface's instance is terminated: it is deleted too, or stays; the caller must notify hosts.

    Its automatic public addresses are released; Elastic IP addresses stay with an interface that stays.
    """
    address_pools.release_public(tx, interface.id, now)
    if not interface.delete_on_termination:
        unplug(interface)
        return
    address_pools.dissociate_elastic(tx, interface.id, now)
    tags.remove_all(tx, [interface.id])
    tx.session.delete(interface)


def unplug(interface: NetworkInterface) -> None:
    """Clear the attachment in an interface's row; a primary IPv6 address is an ordinary one from then on."""
    interface.status = "available"
    interface.host_id = interface.instance_id = interface.attachment_id = None
    interface.device_index = interface.attachment_state = interface.attach_time = None
    interface.delete_on_termination = interface.primary_ipv6 = False
