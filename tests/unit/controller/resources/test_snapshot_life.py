"""A snapshot of a host that is gone for good fails; one of a host that is there does not, whatever the clock says."""

from datetime import timedelta

import pytest

from stead_controller.db.tables import Host, Snapshot
from stead_controller.resources import snapshot_life
from tests.unit.controller.resources import rows
from tests.unit.controller.resources.rows import NOW

PATIENCE, SILENCE = timedelta(minutes=30), timedelta(hours=1)


@pytest.mark.parametrize(
    ("host_state", "hours", "state"),
    [("down", 2, "error"), ("down", 0.5, "pending"), ("up", 2, "pending")],  # the last: the clock was set
)
def test_who_waits_for_a_silent_host(run, world, host_state, hours, state):
    taken = rows.snapshot(world.one.caller.account_id, state="pending", progress=40, host_id=world.host_id)

    def prepare(tx):
        host = tx.session.get_one(Host, world.host_id)
        host.state, host.last_seen = host_state, NOW
        tx.session.add(taken)

    run(prepare)
    run(snapshot_life.fail_late, NOW + timedelta(hours=hours), PATIENCE, SILENCE)
    found = run(lambda tx: tx.session.get_one(Snapshot, taken.id))
    assert (found.state, found.state_message) == (state, snapshot_life.GONE if state == "error" else "")
