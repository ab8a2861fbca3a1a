"""Metrics of groups in the namespace AWS/AutoScaling: which are collected of each, and what they are each minute.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-metrics.html.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog.metric_names import GROUP
from stead_controller.db.tables import ScalingGroup, ScalingInstance, ScalingMetric, WarmPool
from stead_controller.metrics.datum import Datum, Identity, single
from stead_controller.request.transaction import Transaction
from stead_controller.resources.scaling.member import IN_SERVICE, PENDING, WARM, WARMED
from stead_controller.resources.scaling.plan import LEAVING, STANDBY
from stead_controller.resources.scaling.warm_pool_plan import LEAVING_WARM, size_of

NAMESPACE: Final = "AWS/AutoScaling"
GRANULARITY: Final = "1Minute"
SECONDS: Final = 60

_BATCH: Final = 200

type _Members = Sequence[tuple[str, int]]  # the lifecycle state and the weight of each
type _Value = Callable[[ScalingGroup, WarmPool | None, _Members], int | None]


def _instances(*states: str) -> _Value:
    return lambda _, __, members: sum(state in states for state, _ in members)


def _capacity(*states: str) -> _Value:
    return lambda _, __, members: sum(weight for state, weight in members if state in states)


def _wanted_warm(group: ScalingGroup, pool: WarmPool) -> int:
    return size_of(group.desired, group.max_size, pool.min_size, pool.max_prepared)


def _of_pool(value: Callable[[ScalingGroup, WarmPool, _Members], int]) -> _Value:
    """Make a value of what only groups with a warm pool have."""
    return lambda group, pool, members: None if pool is None else value(group, pool, members)


def _warm(is_such: Callable[[str], bool]) -> _Value:
    return _of_pool(
        lambda _, __, members: sum(weight for state, weight in members if state.startswith(WARMED) and is_such(state))
    )


_ALL: Final = (IN_SERVICE, STANDBY, *PENDING, *LEAVING)
_VALUES: Final[tuple[tuple[str, _Value], ...]] = (
    ("GroupMinSize", lambda group, _, __: group.min_size),
    ("GroupMaxSize", lambda group, _, __: group.max_size),
    ("GroupDesiredCapacity", lambda group, _, __: group.desired),
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
    ("WarmPoolMinSize", _of_pool(lambda _, pool, __: pool.min_size)),
    ("WarmPoolDesiredCapacity", _of_pool(lambda group, pool, _: _wanted_warm(group, pool))),
    ("WarmPoolWarmedCapacity", _warm(lambda state: state in WARM)),
    ("WarmPoolPendingCapacity", _warm(lambda state: state not in WARM and state not in LEAVING_WARM)),
    ("WarmPoolTerminatingCapacity", _warm(lambda state: state in LEAVING_WARM)),
    ("WarmPoolTotalCapacity", _warm(lambda _: True)),
    (
        "GroupAndWarmPoolDesiredCapacity",
        _of_pool(lambda group, pool, _: group.desired + _wanted_warm(group, pool)),
    ),
    ("GroupAndWarmPoolTotalCapacity", _of_pool(lambda _, __, members: sum(weight for _, weight in members))),
)
METRICS: Final[Mapping[str, _Value]] = dict(_VALUES)
"""The metrics by name; those of warm pools have no value for groups without one."""


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
    pools = {
        pool.group_id: pool for pool in tx.session.scalars(select(WarmPool).where(WarmPool.group_id.in_(group_ids)))
    }
    data: list[Datum] = []
    for row in rows:
        data += _data(row, pools.get(row.id), members.get(row.id, ()), collected[row.id], now)
    return data, group_ids[-1]


def _data(
    row: ScalingGroup, pool: WarmPool | None, members: _Members, names: Sequence[str], now: datetime
) -> Iterator[Datum]:
    at = int(now.timestamp()) // SECONDS * SECONDS * 1000
    for name in names:
        identity = Identity(row.account_id, NAMESPACE, name, ((GROUP, row.name),))
        value = METRICS[name](row, pool, members)
        if value is not None:
            yield single(identity, at, "None", float(value))
