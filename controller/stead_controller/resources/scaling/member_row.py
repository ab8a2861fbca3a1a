"""The row of an instance that is new in a group."""

from datetime import datetime

from stead_controller.db.tables import ScalingGroup, ScalingInstance
from stead_controller.resources.scaling.launches import Origin


def member_row(
    group: ScalingGroup, instance_id: str, zone: str, instance_type: str, now: datetime, *, origin: Origin
) -> ScalingInstance:
    """Return the row of a group's new instance."""
    return ScalingInstance(
        instance_id=instance_id,
        group_id=group.id,
        account_id=group.account_id,
        zone=zone,
        instance_type=instance_type,
        lifecycle_state="Pending",
        since=now,
        until=None,
        healthy=True,
        protected=group.protect_new,
        weight=1,
        spot=False,
        template_id=origin.template_id,
        template_name=origin.template_name,
        template_version=origin.template_version,
        configuration=origin.configuration,
        launched=now,
        in_service=None,
        activity_id=None,
    )
