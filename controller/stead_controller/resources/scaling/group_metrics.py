"""Metrics of groups in the namespace AWS/AutoScaling: which are collected of each, and what they are each minute.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-metrics.html.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog.metric_names import GROUP
from stead_controller.db.tables import ScalingGroup, ScalingInstance, ScalingMetric
from stead_controller.metrics.datum import Datum, Identity, single
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling.member import IN_SERVICE, PENDING
from stead_controller.resources.scaling.plan import LEAVING, STANDBY

NAMESPACE: Final = "AWS/AutoScaling"
GRANULARITY: Final = "1Minute"
SECONDS: Final = 60

_BATCH: Final = 200

type _Members = Sequence[tuple[str, int]]  # the lifecycle state and the weight of each
type _Value = Callable[[ScalingGroup, _Members], int]


def _instances(*states: str) -> _Value:
    return lambda _, members: sum(state in states for state, _ in members)


def _capacity(*states: str) -> _Value:
    return lambda _, members: sum(weight for state, weight in members if state in states)


_ALL: Final = (IN_SERVICE, STANDBY, *PENDING, *LEAVING)
_VALUES: Final[tuple[tuple[str, _Value], ...]] = (
    ("GroupMinSize", lambda group, _: group.min_size),
    ("GroupMaxSize", lambda group, _: group.max_size),
    ("GroupDesiredCapacity", lambda group, _: group.desired),
    ("GroupInServiceInstances", _instances(IN_SERVICE)),
    ("GroupPendingInstances", _instances(*PENDING)),
    ("GroupStandbyInstances", _instances(STANDBY)),
    ("GroupTerminatingInstances", _instances(*LEAVING)),
    ("GroupTotalInstances", _instances(*_ALL)),
    ("GroupInServiceCapacity", _capacity(IN_SERVICE)),
    ("GroupPendingCapacity", _capacity(*PENDING)),
    ("GroupStandbyCapacity", _capacity(STANDBY)),
    ("GroupTerminatingCapacity", _capacity(*LEAVING)),
    ("GroupTotalCapacity", _capacity(*_ALL)),
)
METRICS: Final[Mapping[str, _Value]] = dict(_VALUES)
"""The metrics by name, without those of warm pools, which no group has."""


def of_groups(tx: Transaction, group_ids: Collection[str]) -> Mapping[str, Sequence[str]]:
    """Return the metrics that are collected of groups, in the order of METRICS, by the groups' ids."""
    found: dict[str, set[str]] = {}
    rows = select(ScalingMetric.group_id, ScalingMetric.name).where(ScalingMetric.group_id.in_(group_ids))
    for group_id, name in tx.session.execute(rows):
        found.setdefault(group_id, set()).add(name)
    return {group_id: [name for name in METRICS if name in names] for group_id, names in found.items()}


def measure(tx: Transaction, now: datetime, after: str = "") -> tuple[list[Datum], str]:
    """Return what is collected of some groups now, and the id of the last of them; empty when there are no more."""
    query = select(ScalingMetric.group_id).where(ScalingMetric.group_id > after).distinct()
    group_ids = list(tx.session.scalars(query.order_by(ScalingMetric.group_id).limit(_BATCH)))
    if not group_ids:
        return [], ""
    collected = of_groups(tx, group_ids)
    members: dict[str, list[tuple[str, int]]] = {}
    columns = ScalingInstance.group_id, ScalingInstance.lifecycle_state, ScalingInstance.weight
    for group_id, state, weight in tx.session.execute(select(*columns).where(ScalingInstance.group_id.in_(group_ids))):
        members.setdefault(group_id, []).append((state, weight))
    rows = tx.session.scalars(select(ScalingGroup).where(ScalingGroup.id.in_(group_ids)))
    data = [datum for row in rows for datum in _data(row, members.get(row.id, ()), collected[row.id], now)]
    return data, group_ids[-1]


def _data(row: ScalingGroup, members: _Members, names: Sequence[str], now: datetime) -> Iterator[Datum]:
    at = int(now.timestamp()) // SECONDS * SECONDS * 1000
    for name in names:
        identity = Identity(row.account_id, NAMESPACE, name, ((GROUP, row.name),))
        yield single(identity, at, "None", float(METRICS[name](row, members)))
