"""What is different about Spot Instances: what they cannot have, and the requests by which they were launched.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-instances.html.
"""

from sqlalchemy import delete, update

from stead_controller.db.insert import insert_new
from stead_controller.db.tables import Instance, SpotRequest, SpotRequestValue
from stead_controller.errors import InvalidCombination, Unsupported
from stead_controller.placement.tenancy import HOST
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_reservations import ONLY
from stead_controller.resources.instances.launch_request import LaunchRequest


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
    fulfilled = (
        update(SpotRequest)
        .where(*waits)
        .values(
            instance_id=instance.id,
            specification=None,
            shape=None,
            vcpus=0,
            status=None,
            status_time=instance.launch_time,
            next_try=None,
            tries=0,
        )
    )
    changed = tx.session.execute(fulfilled.execution_options(synchronize_session=False))
    if not changed.rowcount:  # type: ignore[attr-defined]  # an UPDATE has a row count
        raise RuntimeError(f"the request {instance.spot_request_id} does not wait, and cannot have {instance.id}")
    values = delete(SpotRequestValue).where(SpotRequestValue.request_id == instance.spot_request_id)
    tx.session.execute(values.execution_options(synchronize_session=False))


def require_stoppable(instance: Instance) -> None:
    """Raise Unsupported for a Spot Instance."""
    if instance.spot_request_id is not None:
        raise Unsupported(
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance "
            "request. You can only stop Spot Instances associated with persistent Spot Instance requests."
        )


def require_on_demand(instance: Instance, attribute: str) -> None:
    """Raise Unsupported for an attribute that a Spot Instance cannot have otherwise."""
    if instance.spot_request_id is not None:
        raise Unsupported(f"The attribute '{attribute}' cannot be modified for the Spot Instance '{instance.id}'.")
