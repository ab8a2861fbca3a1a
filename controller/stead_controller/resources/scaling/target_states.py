"""To which lifecycle state an instance goes, which it reads in its metadata.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html.
"""

from typing import Final

from stead_controller.db.tables import Instance
from stead_controller.desired import desired_state
from stead_controller.request.transaction import Transaction

TERMINATED: Final = "Terminated"
DETACHED: Final = "Detached"


def show(tx: Transaction, instance_id: str, state: str) -> None:
    """Show an instance where it goes."""
    instance = tx.session.get(Instance, instance_id)
    if instance is not None and instance.target_lifecycle_state != state:
        instance.target_lifecycle_state = state
        desired_state.refresh_instance(tx, instance_id)
