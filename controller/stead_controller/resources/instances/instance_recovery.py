"""Automatic recovery: an instance whose VM process failed is started again on its host, as after a power cut.

It keeps its id, addresses, volumes and launch time, and stays `running`; its system status check is impaired until it
runs again. See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-configuration-recovery.html (simplified
automatic recovery): at most three times a day, and not for types with an instance store, which would be lost.
"""

from datetime import datetime, timedelta
from typing import Final

from stead_controller.db.tables import Instance
from stead_controller.desired import desired_state
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import credit_specifications

_MOST: Final = 3
_PERIOD: Final = timedelta(days=1)


def begin(tx: Transaction, instance: Instance, now: datetime) -> bool:
    """Begin the recovery of an instance whose VM process failed; return whether it is allowed."""
    since = (now - _PERIOD).timestamp()
    recent = [moment for moment in instance.recoveries if moment > since]
    if not instance.auto_recovery or not _is_supported(tx, instance) or len(recent) >= _MOST:
        return False
    instance.recoveries = [*recent, now.timestamp()]
    instance.recovery_began = now
    instance.start_count += 1
    credit_specifications.begin_start(tx, instance, now)
    instance.host_error = ""
    tx.events.add(instance.id)
    desired_state.refresh_instance(tx, instance.id)
    return True


def end(tx: Transaction, instance: Instance) -> None:
    """Record that an instance runs again, or is to be stopped."""
    if instance.recovery_began is not None:
        instance.recovery_began = None
        tx.events.add(instance.id)


def _is_supported(tx: Transaction, instance: Instance) -> bool:
    kind = instance_types.find(tx, instance.instance_type)
    return kind is not None and kind.auto_recovery
