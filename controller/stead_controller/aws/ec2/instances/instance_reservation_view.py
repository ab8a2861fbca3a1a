"""What EC2 shows of an instance's capacity reservations."""

from typing import Any

from stead_controller.aws.call import Result


def specification_view(row: Any) -> Result:
    """Show in which capacity reservations an instance may run."""
    shown: Result = {}
    if row.reservation_preference is not None:
        shown["CapacityReservationPreference"] = row.reservation_preference
    if row.reservation_target is not None:
        shown["CapacityReservationTarget"] = {"CapacityReservationId": row.reservation_target}
    return shown
