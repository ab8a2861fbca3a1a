"""Instance states: their EC2 codes, and the changes of state that requests and hosts' reports make.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stead_controller.db.tables import Instance
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request.transaction import Transaction

STATE_CODES: Final = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


@dataclass(frozen=True, slots=True)
class StateChange:
    """What one request did to one instance; state names."""

    instance_id: str
    previous: str
    current: str


@dataclass(frozen=True, slots=True)
class Reason:
    """EC2's StateReason: a code such as `Client.UserInitiatedShutdown`, and its message."""

    code: str = ""
    message: str = ""


USER_SHUTDOWN: Final = Reason("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")
USER_HIBERNATION: Final = Reason(
    "Client.UserInitiatedHibernate", "Client.UserInitiatedHibernate: User initiated hibernate"
)
GUEST_SHUTDOWN: Final = Reason(
    "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
)
SCHEDULED_STOP: Final = Reason(
    "Server.ScheduledStop", "Server.ScheduledStop: The instance was stopped due to a scheduled retirement."
)
"""A drain of its host has stopped it: it is started on another host when one has room."""
SPOT_INTERRUPTION: Final = Reason(
    "Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination"
)
HOST_FAILURE: Final = Reason("Server.InternalError", "Server.InternalError: Internal error on launch")


def change_state(
    tx: Transaction,
    instance: Instance,
    state: str,
    now: datetime,
    reason: Reason = Reason(),
    *,
    transition: str = "",
    ended: datetime | None = None,
) -> StateChange:
    """Move an instance to another state with its reasons, and notify its watchers.

    Its use ends with its guest, if `ended` tells when that was: it may be long since.
    """
    change = StateChange(instance.id, instance.state, state)
    instance.state = state
    instance.state_changed = now
    instance.state_reason_code = reason.code
    instance.state_reason_message = reason.message
    instance.state_transition_reason = transition
    tx.events.add(instance.id)
    _measure(tx, instance, now, ended or now)
    return change


def interrupt_use(tx: Transaction, instance: Instance, ended: datetime) -> None:
    """Bill an instance no more that is `running` and whose guest has ended, until `resume_use`."""
    ledger.interrupt(tx, _resource(instance), ended)


def resume_use(tx: Transaction, instance: Instance, began: datetime) -> None:
    """Bill an instance again whose guest runs again."""
    _measure(tx, instance, began, began)


def monitoring_changed(tx: Transaction, instance: Instance, now: datetime) -> None:
    """Bill the metrics of an instance from now on, if it runs and is billed, or no more."""
    ledger.adjust(tx, _resource(instance), uses.of_detailed_monitoring(), now, wanted=instance.monitoring)


def skip_use(tx: Transaction, instance: Instance, since: datetime, until: datetime) -> None:
    """Do not bill an instance for a time that is over, in which its guest did not run."""
    ledger.skip(tx, _resource(instance), since, until)


def _measure(tx: Transaction, instance: Instance, now: datetime, ended: datetime) -> None:
    """Bill an instance while it runs, and while it saves its memory for hibernation."""
    if instance.state == "stopping" and instance.hibernate_stop:
        return
    if instance.state != "running":
        ledger.end(tx, _resource(instance), ended)
        return
    spot = instance.spot_request_id is not None
    used = uses.of_instance(instance.instance_type, instance.tenancy, spot=spot, monitoring=instance.monitoring)
    ledger.change(tx, _resource(instance), used, now)


def _resource(instance: Instance) -> Resource:
    return Resource(instance.id, instance.account_id, instance.zone)


def user_initiated(now: datetime) -> str:
    """EC2's StateTransitionReason for a user's request."""
    return f"User initiated ({now:%Y-%m-%d %H:%M:%S} GMT)"
