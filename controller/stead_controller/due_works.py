"""What time alone makes due in a controller: rounds of loops that are woken, and work for which no loop waits."""

from collections.abc import Iterator
from typing import Final

from stead_controller.blocks.store import BlockStore
from stead_controller.clock import Clock
from stead_controller.db.session import Database, Transaction
from stead_controller.request.cloud import Cloud
from stead_controller.resources import workflow_rows
from stead_controller.resources.budgets import due_budgets, execution
from stead_controller.resources.data_exports import executions
from stead_controller.resources.fleet import waiting_spot_requests
from stead_controller.resources.iam import instance_credentials, instance_identity
from stead_controller.resources.metrics import alarm_actions, due_alarms
from stead_controller.resources.notifications import deliveries
from stead_controller.resources.operators import drain_moves, host_drain
from stead_controller.resources.scaling import due_groups, scheduled_actions
from stead_controller.resources.storage import written_snapshots
from stead_controller.workflows.alarms import Alarms
from stead_controller.workflows.budgets import Budgets
from stead_controller.workflows.data_exports import DataExports
from stead_controller.workflows.due_work import Work
from stead_controller.workflows.engine import Engine
from stead_controller.workflows.notifications import Notifications
from stead_controller.workflows.scaling_groups import ScalingGroups
from stead_controller.workflows.spot_launches import SpotLaunches

_RENEWALS_AT_ONCE: Final = 100
_IDENTITIES_AT_ONCE: Final = 20  # per second, so that thousands of instances launched together delay nothing else


def of_loops(
    engine: Engine, spot: SpotLaunches, groups: ScalingGroups, notifications: Notifications, alarms: Alarms
) -> Iterator[Work]:
    """Yield what begins a round of each loop."""
    yield Work("workflows", workflow_rows.DUE, engine.look, anybody=True)
    yield Work("spot_launches", waiting_spot_requests.DUE, spot.look)
    yield Work("scaling_groups", due_groups.DUE | scheduled_actions.DUE, groups.look)
    yield Work("notifications", deliveries.DUE, notifications.look)
    yield Work("alarms", due_alarms.DUE | alarm_actions.DUE, alarms.run, alarms.has_news, anybody=True)


def of_costs(budgets: Budgets, exports: DataExports) -> Iterator[Work]:
    """Yield what looks at costs."""
    yield Work("budgets", due_budgets.DUE | execution.DUE, budgets.run)
    yield Work("data_exports", executions.DUE, exports.run)


def of_rows(database: Database, cloud: Cloud, clock: Clock, blocks: BlockStore) -> Iterator[Work]:
    """Yield what is done in transactions; others' come between those of one work."""

    async def compose_snapshots() -> None:
        while await blocks.compose():
            pass

    def renew_some(tx: Transaction) -> bool:
        instance_credentials.renew_due(tx, cloud, clock(), _RENEWALS_AT_ONCE)
        tx.flush()
        return instance_credentials.DUE.is_met(tx, clock())

    async def renew_credentials() -> None:
        while await database.run(renew_some):
            pass

    async def renew_identities() -> None:
        await database.run(lambda tx: instance_identity.renew_due(tx, clock(), _IDENTITIES_AT_ONCE))

    async def empty_hosts() -> None:
        await database.run(lambda tx: drain_moves.take_steps(tx, cloud, clock()))

    async def start_elsewhere() -> None:
        await database.run(lambda tx: host_drain.start_elsewhere(tx, cloud, clock()))

    yield Work("written_snapshots", written_snapshots.DUE, compose_snapshots)
    yield Work("credentials", instance_credentials.DUE, renew_credentials)
    yield Work("identities", instance_identity.DUE, renew_identities)
    yield Work("drained_hosts", drain_moves.DUE, empty_hosts)
    yield Work("stopped_by_drains", host_drain.DUE, start_elsewhere)
