"""TerminateInstances: the VM is removed first; disks, interfaces and capacity follow when the host reports that."""

from collections.abc import Sequence
from datetime import datetime

from stead_controller.db.tables import Instance
from stead_controller.desired import desired_state
from stead_controller.errors import WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_lookup import find_instances
from stead_controller.resources.instances.instance_states import (
    USER_SHUTDOWN,
    StateChange,
    change_state,
    user_initiated,
)


def terminate_instances(
    tx: Transaction,
    caller: Caller,
    instance_ids: Sequence[str],
    now: datetime,
    *,
    skip_shutdown: bool = False,
    even_protected: bool = False,
) -> list[StateChange]:
    """Terminate instances in any state; those that are gone already stay so.

    Raises WrongState when protected, which is no protection from an Auto Scaling group (`even_protected`). Guests have
    some seconds to shut down; with `skip_shutdown` none, also if they were asked before.
    """
    found = find_instances(tx, caller, instance_ids)
    for instance in () if even_protected else found:
        _require_unprotected(instance)
    changes = []
    for instance in found:
        if instance.state in ("shutting-down", "terminated"):
            if skip_shutdown and instance.state == "shutting-down" and instance.host_id is not None:
                desired_state.remove_machine(tx, instance.host_id, instance.id, force=True)
            changes.append(StateChange(instance.id, instance.state, instance.state))
            continue
        changes.append(change_state(tx, instance, "shutting-down", now, USER_SHUTDOWN, transition=user_initiated(now)))
        if instance.host_id is not None:
            desired_state.remove_machine(tx, instance.host_id, instance.id, force=skip_shutdown)
    return changes


def _require_unprotected(instance: Instance) -> None:
    """Raise WrongState for an instance with termination protection, or stop protection, which forbids both, as in EC2.

    See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-stop-protection.html.
    """
    attributes = {
        "disableApiTermination": instance.disable_api_termination,
        "disableApiStop": instance.disable_api_stop,
    }
    protection = next((name for name, is_set in attributes.items() if is_set), None)
    if protection is not None and instance.state != "terminated":
        raise WrongState(
            "instance",
            f"The instance '{instance.id}' may not be terminated. Modify its '{protection}' instance attribute and try "
            "again.",
            code="OperationNotPermitted",
        )
