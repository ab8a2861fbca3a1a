"""StartInstances: reserve capacity on a host, maybe take a new public address, and request a start."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import Instance, NetworkInterface, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, NoCapacity, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.host_capacity import cores, slot_usage
from stead_controller.resources.iam import instance_credentials
from stead_controller.resources.instances import (
    credit_specifications,
    instance_events,
    instance_needs,
    instance_reservations,
    start_places,
)
from stead_controller.resources.instances.instance_lookup import find_instances
from stead_controller.resources.instances.instance_states import StateChange, change_state
from stead_controller.resources.instances.volume_attachments import DETACHING
from stead_controller.resources.network import address_pools


def start_instances(
    tx: Transaction, caller: Caller, cloud: Cloud, instance_ids: Sequence[str], now: datetime
) -> list[StateChange]:
    """Start stopped instances; running ones are left alone.

    Raises WrongState, InvalidParameter for one without a root volume, NoCapacity, LimitExceeded; then nothing is
    changed.
    """
    changes = []
    for instance in find_instances(tx, caller, instance_ids):
        if instance.state in ("pending", "running"):
            changes.append(StateChange(instance.id, instance.state, instance.state))
            continue
        changes.append(start(tx, cloud, instance, now))
    return changes


def start(tx: Transaction, cloud: Cloud, instance: Instance, now: datetime) -> StateChange:
    """Start a stopped instance; raises WrongState, LimitExceeded, NoCapacity, InvalidParameter if it has no root."""
    if instance.state != "stopped" or instance.host_id is None:
        raise WrongState(
            "instance",
            f"The instance '{instance.id}' is not in a state from which it can be started.",
        )
    _require_root(tx, instance)
    start_places.reserve(tx, cloud, instance, instance.host_id)
    instance_events.leave_host(tx, instance, now)
    need = instance_needs.of(tx, instance)
    if not instance_reservations.take_devices(tx, instance.host_id, instance, need.devices):
        raise NoCapacity("The host of this instance has not the free devices to start it now.")
    if not cores.take(tx, instance.host_id, instance.id, need.cores):
        raise NoCapacity("The host of this instance has not the free whole cores to start it now.")
    instance.capacity_held = True
    if instance.capacity_reservation_id is None:
        quotas.launchable(tx, instance.account_id, instance.vcpus, 1, 1)
        quotas.use_vcpus(tx, instance.account_id, instance.vcpus)
    else:
        slot_usage.measure(tx, instance.capacity_reservation_id, now)
    instance.start_count += 1
    instance.stores_since = 0
    instance.interruption = None
    credit_specifications.begin_start(tx, instance, now)
    instance.ebs_at_start = None
    instance.force_stop = instance.hasten_stop = instance.hibernate_stop = False
    instance.launch_time = instance.identity_issued = now
    instance.host_error = ""
    _renew_public_address(tx, cloud, instance, now)
    change = change_state(tx, instance, "pending", now)
    instance_credentials.begin(tx, cloud, instance, now)
    desired_state.refresh_instance(tx, instance.id)
    return change


def _require_root(tx: Transaction, instance: Instance) -> None:
    """Raise InvalidParameter for an instance whose root volume was detached."""
    root = select(Volume.id).where(
        Volume.instance_id == instance.id,
        Volume.device_name == instance.root_device_name,
        Volume.attachment_state.not_in(DETACHING),
    )
    if tx.session.scalar(root) is None:
        raise InvalidParameter(
            f"Invalid value '{instance.id}' for instanceId. Instance does not have a volume attached at root "
            f"({instance.root_device_name})"
        )


def _renew_public_address(tx: Transaction, cloud: Cloud, instance: Instance, now: datetime) -> None:
    """Give an instance that is to have a public address a new one, since its old one was released at stop.

    As in EC2, one with several interfaces gets none.
    """
    interfaces = tx.session.scalars(
        select(NetworkInterface)
        .where(NetworkInterface.instance_id == instance.id)
        .order_by(NetworkInterface.device_index)
    ).all()
    primary = interfaces[0]
    if len(interfaces) == 1 and primary.associate_public_address and instance.public_address is None:
        instance.public_address = address_pools.take_public(tx, cloud, instance.account_id, primary, now)
