"""What time alone makes due in a controller: the look finds it when its time has come, and reads no long table."""

from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from sqlalchemy import event, insert

from stead_controller.db.due_rows import DueLook
from stead_controller.db.tables import (
    Alarm,
    AlarmAction,
    Budget,
    BudgetAction,
    CapacityReservationSlots,
    DataExport,
    Host,
    Instance,
    InstanceProfileAssociation,
    ScalingGroup,
    ScheduledAction,
    Snapshot,
    SpotRequest,
    Subscription,
    VolumeMove,
    Workflow,
)
from stead_controller.due_works import of_costs, of_loops, of_rows
from stead_controller.resources.budgets import actions
from stead_controller.resources.iam.instance_identity import RENEWED_AFTER
from stead_controller.resources.instances.instance_states import SCHEDULED_STOP
from tests.support.rows import CLOUD, NOW
from tests.support.world import database, world, world_file

__all__ = ["database", "world", "world_file"]

_SMALL = {"hosts", "alarm_actions", "volume_moves"}  # have few rows, or none for long
_LITTLE = timedelta(milliseconds=1)
_SOME = {"String": "x", "Text": "x", "Integer": 0, "BigInteger": 0, "Float": 0.0, "Boolean": False, "JSON": []}
_SOME |= {"UtcTime": NOW + timedelta(days=999), "LargeBinary": b"x"}
_FREE = {"due": NOW, "lease_until": None}
_FAR = NOW + timedelta(days=9)


@pytest.fixture
def look(database, world):
    """Look with all works of a controller."""
    loop = SimpleNamespace(look=Mock(), run=Mock(), has_news=Mock())
    rounds = (*of_loops(loop, loop, loop, loop, loop), *of_costs(loop, loop))
    works = [*rounds, *of_rows(database, CLOUD, lambda: NOW, Mock())]
    assert len(works) == 12
    return DueLook({work.name: work.due for work in works})


def filled(model, values):
    """Values for all columns of a row that must have one; times are far away."""
    columns = [
        each
        for each in model.__table__.columns
        if not each.nullable and each.default is None and each.computed is None and each.name not in values
    ]
    return {each.name: _SOME[type(each.type).__name__] for each in columns} | values


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        pytest.param("workflows", [(Workflow, _FREE)], id="workflow that nobody has leased"),
        pytest.param(
            "workflows", [(Workflow, _FREE | {"lease_until": NOW - _LITTLE})], id="workflow left by who had it"
        ),
        pytest.param("spot_launches", [(SpotRequest, {"next_try": NOW})], id="Spot request"),
        pytest.param("scaling_groups", [(ScalingGroup, {"due": NOW})], id="group"),
        pytest.param("scaling_groups", [(ScheduledAction, {"due": NOW})], id="scheduled action"),
        pytest.param("notifications", [(Subscription, {"due": NOW})], id="message"),
        pytest.param("alarms", [(Alarm, {"due": NOW})], id="alarm"),
        pytest.param("budgets", [(Budget, {"due": NOW})], id="budget"),
        pytest.param("data_exports", [(DataExport, {"due": NOW})], id="export"),
        pytest.param("credentials", [(InstanceProfileAssociation, {"due": NOW})], id="credentials"),
        pytest.param("identities", [(Instance, {"identity_issued": NOW - RENEWED_AFTER})], id="identity"),
    ],
)
def test_what_is_due_at_a_time_is_found_from_then_on(database, look, name, rows):
    assert found(database, look, rows, NOW) == [name]
    assert found(database, look, rows, NOW - _LITTLE) == []


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        pytest.param("alarms", [(AlarmAction, {})], id="action of an alarm"),
        *(
            pytest.param("budgets", [(BudgetAction, {"status": status})], id=f"action of a budget, {status}")
            for status in actions.RUNNING
        ),
        pytest.param("written_snapshots", [(Snapshot, {"state": "pending", "ended": NOW})], id="ended snapshot"),
        pytest.param("spot_launches", [(SpotRequest, {"next_try": _FAR})], id="Spot request of a clock that was ahead"),
        pytest.param("drained_hosts", [(Host, {"draining": True})], id="host that is drained"),
        pytest.param("drained_hosts", [(VolumeMove, {})], id="move"),
        pytest.param(
            "stopped_by_drains",
            [(Instance, {"state": "stopped", "state_reason_code": SCHEDULED_STOP.code})],
            id="instance that a drain has stopped",
        ),
    ],
)
def test_what_waits_is_found_at_any_time(database, look, name, rows):
    assert found(database, look, rows, NOW) == [name]


@pytest.mark.parametrize(("used", "draining", "is_met"), [(1, True, True), (2, True, False), (1, False, False)])
def test_free_slots_on_a_drained_host_are_moved(database, look, used, draining, is_met):
    host = (Host, {"id": "h", "draining": draining})
    slots = (CapacityReservationSlots, {"host_id": "h", "slots": 2, "used": used})
    assert ("stopped_by_drains" in found(database, look, [host, slots], NOW)) == is_met


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((Workflow, _FREE | {"lease_until": NOW}), id="leased workflow"),
        pytest.param((SpotRequest, {"next_try": None, "valid_from": NOW}), id="Spot request that does not wait"),
        pytest.param((SpotRequest, {"next_try": _FAR, "valid_from": _FAR}), id="Spot request that has not begun"),
        pytest.param((Snapshot, {"state": "completed", "ended": NOW}), id="completed snapshot"),
        pytest.param((Snapshot, {"state": "pending", "ended": None}), id="snapshot that is written to"),
        pytest.param((Instance, {"state": "running", "state_reason_code": SCHEDULED_STOP.code}), id="instance"),
        pytest.param((Instance, {"state": "stopped", "state_reason_code": "x"}), id="instance that its user stopped"),
    ],
)
def test_nothing_else_is(database, look, row):
    assert found(database, look, [row], NOW) == []


def found(database, look, rows, now):
    """What the look finds where there are these rows beside the world's."""

    def ask(tx):
        tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for model, values in rows:
            tx.session.execute(insert(model).values(filled(model, values)))
        return look.met(tx, now)

    return database.run_blocking(ask, dry_run=True)


def test_no_table_that_grows_is_read_from_end_to_end(database, look):
    read = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: read.append(given[2:4]))
    assert database.run_blocking(lambda tx: look.met(tx, NOW), writes=False) == []
    ((statement, parameters),) = [each for each in read if each[0].startswith("SELECT")]
    with database.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    scanned = {line.split()[1] for line in plan if line.startswith("SCAN ")} - {"CONSTANT"}
    assert scanned <= _SMALL, plan
