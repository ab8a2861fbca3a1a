"""StopInstances: shut down the guest, or power it off; its capacity is released when it is off.

Each stop ends its guest: one that does not shut down in some time is powered off. `Force` shortens that time, also of a
stop under way, and SkipOsShutdown takes it all.
See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/stop-instances.html.
"""

from collections.abc import Sequence
from datetime import datetime

from stead_controller.db.tables import Instance
from stead_controller.desired import desired_state
from stead_controller.errors import WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import spot_instances
from stead_controller.resources.instances.instance_lookup import find_instances
from stead_controller.resources.instances.instance_states import (
    SCHEDULED_STOP,
    USER_SHUTDOWN,
    StateChange,
    change_state,
    user_initiated,
)


def stop_instances(
    tx: Transaction,
    caller: Caller,
    instance_ids: Sequence[str],
    now: datetime,
    *,
    hasten: bool = False,
    skip_shutdown: bool = False,
) -> list[StateChange]:
    """Stop running instances, and those that start again; stopped ones are left alone. Raises WrongState.

    As in EC2, one that is still being launched can be terminated and not stopped.
    Guests have less time to shut down with `hasten`, and none with `skip_shutdown`, also if their stop is under way.
    """
    changes = []
    for instance in find_instances(tx, caller, instance_ids):
        spot_instances.require_stoppable(tx, instance)
        require_unprotected(instance)
        if instance.state in ("stopping", "stopped"):
            changes.append(StateChange(instance.id, instance.state, instance.state))
            if instance.state_reason_code == SCHEDULED_STOP.code:  # now its user wants it to stay off
                instance.state_reason_code, instance.state_reason_message = USER_SHUTDOWN.code, USER_SHUTDOWN.message
            if instance.state == "stopping":
                _hasten(tx, instance, hasten=hasten, skip_shutdown=skip_shutdown)
            continue
        if instance.state == "pending" and instance.start_count == 1:
            raise WrongState(
                "instance",
                f"Instance '{instance.id}' cannot be stopped as it has never reached the 'running' state.",
            )
        if instance.state not in ("pending", "running"):
            raise WrongState(
                "instance", f"The instance '{instance.id}' is not in a state from which it can be stopped."
            )
        changes.append(stop(tx, instance, now, hasten=hasten, skip_shutdown=skip_shutdown))
    return changes


def stop(
    tx: Transaction, instance: Instance, now: datetime, *, hasten: bool = False, skip_shutdown: bool = False
) -> StateChange:
    """Stop a running instance, whether it is protected from users' requests or not."""
    instance.hasten_stop, instance.force_stop, instance.hibernate_stop = hasten, skip_shutdown, False
    change = change_state(tx, instance, "stopping", now, USER_SHUTDOWN, transition=user_initiated(now))
    desired_state.refresh_instance(tx, instance.id)
    return change


def _hasten(tx: Transaction, instance: Instance, *, hasten: bool, skip_shutdown: bool) -> None:
    """Give a guest whose stop is under way less time, if that is news."""
    before = (instance.hasten_stop, instance.force_stop)
    instance.hasten_stop |= hasten
    instance.force_stop |= skip_shutdown
    if (instance.hasten_stop, instance.force_stop) != before:
        desired_state.refresh_instance(tx, instance.id)


def scheduled_stop(tx: Transaction, instance: Instance, now: datetime) -> None:
    """Ask a guest to shut down since its host is to be empty; stop protection does not hold for that, as in EC2."""
    instance.force_stop = instance.hasten_stop = instance.hibernate_stop = False
    change_state(tx, instance, "stopping", now, SCHEDULED_STOP)
    desired_state.refresh_instance(tx, instance.id)


def require_unprotected(instance: Instance) -> None:
    """Raise WrongState for an instance with stop protection."""
    if instance.disable_api_stop:
        raise WrongState(
            "instance",
            f"The instance '{instance.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and "
            "try again.",
            code="OperationNotPermitted",
        )
