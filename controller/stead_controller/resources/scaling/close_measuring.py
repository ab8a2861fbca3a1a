"""Which instances have their processors measured each ten seconds: those of groups whose policies ask for it."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import select

from stead_controller.catalog.metric_names import EC2
from stead_controller.db.tables import Instance, ScalingGroup, ScalingInstance, ScalingPolicy
from stead_controller.desired import desired_state
from stead_controller.request import lookup
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling.policy import TRACKING, definitions, read

_MINUTE: Final = 60


def is_asked_for(tx: Transaction, group: ScalingGroup) -> bool:
    """Tell whether a policy of a group tracks a metric of its instances in periods of less than a minute."""
    mine = ScalingPolicy.group_id == group.id, ScalingPolicy.kind == TRACKING
    for text in tx.session.scalars(select(ScalingPolicy.definition).where(*mine)):
        tracking = read(text).tracking
        assert tracking is not None, "a target tracking policy"
        for definition in definitions(tracking, group.name).values():
            if any(one.metric.namespace == EC2 and one.period < _MINUTE for one in definition.measures):
                return True
    return False


def settle(tx: Transaction, group: ScalingGroup, instance_ids: Collection[str] | None = None) -> None:
    """Have instances of a group measured as its policies ask, all if none is named."""
    closely = is_asked_for(tx, group)
    if instance_ids is None:
        theirs = select(ScalingInstance.instance_id).where(ScalingInstance.group_id == group.id)
        instance_ids = tx.session.scalars(theirs).all()
    elif not closely:
        return
    _write(tx, instance_ids, closely=closely)


def stop(tx: Transaction, instance_ids: Collection[str]) -> None:
    """Have instances measured as all others: they leave their group."""
    _write(tx, instance_ids, closely=False)


def _write(tx: Transaction, instance_ids: Collection[str], *, closely: bool) -> None:
    for batch in lookup.batches(list(instance_ids)):
        for instance in tx.session.scalars(select(Instance).where(Instance.id.in_(batch))):
            if bool(instance.measured_closely) != closely:
                instance.measured_closely = closely
                desired_state.refresh_instance(tx, instance.id)
