"""MonitorInstances and UnmonitorInstances: whether detailed metrics are wanted of an instance.

The answer is `pending` or `disabling`, as EC2's is, and the next description shows what was asked.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from stead_controller.desired import desired_state
from stead_controller.errors import WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import instance_states
from stead_controller.resources.instances.instance_lookup import find_instances

_ENDED: Final = ("shutting-down", "terminated")


def set_monitoring(
    tx: Transaction, caller: Caller, instance_ids: Sequence[str], now: datetime, *, enabled: bool
) -> list[str]:
    """Switch detailed monitoring on or off; return the ids in the order of the request, each once.

    Raises WrongState for an instance that is being terminated, and then none is changed.
    """
    instances = find_instances(tx, caller, instance_ids)
    for instance in instances:
        if instance.state in _ENDED:
            raise WrongState(
                "instance", f"The instance '{instance.id}' is not in a state from which it can be monitored."
            )
    for instance in instances:
        if instance.monitoring != enabled:
            instance.monitoring = enabled
            instance_states.monitoring_changed(tx, instance, now)
            desired_state.refresh_instance(tx, instance.id)
    return [instance.id for instance in instances]
