"""What is different about Spot Instances: what they cannot have, and the requests by which they were launched.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-instances.html.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import case, delete, select, update

from stead_controller.db.insert import insert_new
from stead_controller.db.tables import Instance, SpotRequest, SpotRequestValue
from stead_controller.errors import InvalidCombination, Unsupported
from stead_controller.placement.tenancy import HOST
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_reservations import ONLY
from stead_controller.resources.instances.launch_request import LaunchRequest

EVALUATED: Final = "pending-evaluation"
"""The status of a request that has not been tried yet."""


def check_request(request: LaunchRequest) -> None:
    """Raise InvalidCombination for a launch with what no Spot Instance can have.

    One of a one-time request ends with its guest's shutdown and is never stopped, protection would not hold, and none
    runs in a capacity reservation or on a Dedicated Host.
    """
    asked = {
        "instanceInitiatedShutdownBehavior": request.shutdown_behavior != "terminate",
        "disableApiTermination": request.disable_api_termination,
        "disableApiStop": request.disable_api_stop,
        "hibernationOptions": request.hibernation,
        "capacityReservationSpecification": request.reservation.target is not None
        or request.reservation.preference == ONLY,
        "placement.tenancy": request.tenancy.kind == HOST,
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise InvalidCombination(f"The parameter {name} cannot be specified for a one-time Spot Instance request.")


def add_request(tx: Transaction, instance: Instance) -> None:
    """Write the request of a new Spot Instance."""
    request = SpotRequest(
        id=instance.spot_request_id,
        account_id=instance.account_id,
        instance_id=instance.id,
        created=instance.launch_time,
    )
    insert_new(tx.session, request)


def fulfil_request(tx: Transaction, instance: Instance) -> None:
    """Write in a request that has waited which Spot Instance it has got, so that it waits no longer."""
    waits = SpotRequest.id == instance.spot_request_id, SpotRequest.next_try.is_not(None)
    once = SpotRequest.persistent.is_(False)
    fulfilled = (
        update(SpotRequest)
        .where(*waits)
        .values(
            instance_id=instance.id,
            specification=case((once, None), else_=SpotRequest.specification),
            shape=case((once, None), else_=SpotRequest.shape),
            expires=case((once, None), else_=SpotRequest.expires),
            status=None,
            status_time=instance.launch_time,
            next_try=None,
            tries=0,
        )
    )
    changed = tx.session.execute(fulfilled.execution_options(synchronize_session=False))
    if not changed.rowcount:  # type: ignore[attr-defined]  # an UPDATE has a row count
        raise RuntimeError(f"the request {instance.spot_request_id} does not wait, and cannot have {instance.id}")
    served = select(SpotRequest.id).where(SpotRequest.id == instance.spot_request_id, once)
    values = delete(SpotRequestValue).where(SpotRequestValue.request_id.in_(served))
    tx.session.execute(values.execution_options(synchronize_session=False))


def reopen_request(tx: Transaction, instance: Instance, now: datetime) -> None:
    """Let a persistent request wait for another instance, since its own has ended; not one that was cancelled."""
    if instance.spot_request_id is None:
        return
    left = update(SpotRequest).where(
        SpotRequest.instance_id == instance.id, SpotRequest.persistent.is_(True), SpotRequest.cancelled.is_(None)
    )
    opened = left.values(instance_id=None, status=EVALUATED, status_time=now, next_try=now)
    tx.session.execute(opened.execution_options(synchronize_session=False))
    tx.makes_room = True  # it is tried at once, wherever the room of the instance was


def require_stoppable(tx: Transaction, instance: Instance) -> None:
    """Raise Unsupported for a Spot Instance of a request that is not persistent."""
    if instance.spot_request_id is None:
        return
    if not tx.session.scalar(select(SpotRequest.persistent).where(SpotRequest.id == instance.spot_request_id)):
        raise Unsupported(
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance "
            "request. You can only stop Spot Instances associated with persistent Spot Instance requests."
        )


def require_on_demand(instance: Instance, attribute: str) -> None:
    """Raise Unsupported for an attribute that a Spot Instance cannot have otherwise."""
    if instance.spot_request_id is not None:
        raise Unsupported(f"The attribute '{attribute}' cannot be modified for the Spot Instance '{instance.id}'.")
