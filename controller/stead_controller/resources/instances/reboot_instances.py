"""RebootInstances: request one more reboot from the host."""

from collections.abc import Sequence

from stead_controller.desired import desired_state
from stead_controller.errors import WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_lookup import find_instances


def reboot_instances(tx: Transaction, caller: Caller, instance_ids: Sequence[str]) -> None:
    """Reboot running instances; raises WrongState for any other, and then none is rebooted."""
    for instance in find_instances(tx, caller, instance_ids):
        if instance.state not in ("pending", "running"):
            raise WrongState(
                "instance", f"The instance '{instance.id}' is not in a state from which it can be rebooted."
            )
        instance.reboot_count += 1
        desired_state.refresh_instance(tx, instance.id)
