"""The state of a Spot request and the code of its status, as EC2 has them: of each kind of request, with each instance."""

import itertools
from datetime import timedelta

import pytest
from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import Instance, SpotRequest
from stead_controller.resources.fleet.spot_request_states import CHANGED, MESSAGES, STATE, STATUS
from tests.support import rows
from tests.support.rows import NOW

MADE, TRIED, CANCELLED, CHANGED_THEN = (NOW + timedelta(minutes=number) for number in range(4))
BY_USER, SHUTDOWN = "Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown"
INTERRUPTED, FAILED = "Server.SpotInstanceTermination", "Server.InternalError"


@pytest.fixture
def shown(run, world):
    """Add a request, with an instance if something is said of one; gives its state, status and the time of that."""
    numbers = itertools.count()

    def show(request, instance=None):
        def add(tx):
            instance_id = None
            if instance is not None:
                named = {"state": "running", "state_changed": CHANGED_THEN} | instance
                instance_id = rows.launch(tx, world, world.one, number=next(numbers), **named).id
            made = SpotRequest(
                id=ids.new_id("spot-instances-request"),
                account_id=world.one.caller.account_id,
                instance_id=instance_id,
                created=MADE,
                **request,
            )
            tx.session.add(made)
            tx.session.flush()
            query = select(STATE, STATUS, CHANGED).select_from(SpotRequest).outerjoin(Instance)
            return tuple(tx.session.execute(query.where(SpotRequest.id == made.id)).one())

        return run(add)

    return show


@pytest.mark.parametrize(
    ("request_", "state"),
    [
        ({"status": "pending-evaluation"}, "open"),
        ({"status": "capacity-not-available"}, "open"),
        ({"status": "bad-parameters"}, "open"),
        ({"status": "bad-parameters", "ended": TRIED}, "failed"),
        ({"status": "schedule-expired", "ended": TRIED}, "cancelled"),
        ({"status": "canceled-before-fulfillment", "ended": TRIED, "cancelled": TRIED}, "cancelled"),
    ],
    ids=str,
)
def test_one_without_an_instance_says_itself_what_became_of_it(shown, request_, state):
    assert shown(request_ | {"status_time": TRIED}) == (state, request_["status"], TRIED)
    assert shown(request_)[2] == request_.get("cancelled", MADE)


@pytest.mark.parametrize(
    ("instance", "state", "status"),
    [
        ({}, "active", "fulfilled"),
        ({"state": "pending"}, "active", "fulfilled"),
        ({"interruption": CHANGED_THEN}, "active", "marked-for-termination"),
        ({"state": "stopping", "state_reason_code": BY_USER}, "disabled", "instance-stopped-by-user"),
        ({"state": "stopped", "state_reason_code": BY_USER}, "disabled", "instance-stopped-by-user"),
        ({"state": "stopped", "state_reason_code": BY_USER, "interruption": CHANGED_THEN}, "disabled", "instance-stopped-by-user"),
        ({"state": "running", "state_reason_code": BY_USER}, "active", "fulfilled"),
        ({"state": "stopped", "state_reason_code": FAILED}, "active", "fulfilled"),
        ({"state": "shutting-down", "state_reason_code": BY_USER}, "closed", "instance-terminated-by-user"),
        ({"state": "terminated", "state_reason_code": BY_USER}, "closed", "instance-terminated-by-user"),
        ({"state": "terminated", "state_reason_code": SHUTDOWN}, "closed", "instance-terminated-by-user"),
        ({"state": "shutting-down", "state_reason_code": INTERRUPTED}, "closed", "instance-terminated-no-capacity"),
        ({"state": "terminated", "state_reason_code": INTERRUPTED}, "closed", "instance-terminated-no-capacity"),
        ({"state": "terminated", "state_reason_code": FAILED}, "closed", "system-error"),
        ({"state": "running", "state_reason_code": INTERRUPTED}, "active", "fulfilled"),
    ],
    ids=str,
)  # fmt: skip
def test_of_one_with_an_instance_that_says_it(shown, instance, state, status):
    over = instance.get("state") in {"shutting-down", "terminated"}
    changed = CHANGED_THEN if over or state == "disabled" else MADE
    assert shown({}, instance) == (state, status, changed)
    assert shown({"status_time": TRIED}, instance)[2] == (TRIED if changed == MADE else changed)
    persistent = "open" if state == "closed" else state
    assert shown({"persistent": True}, instance) == (persistent, status, changed)
    # Once it is cancelled it is so for good: what has become of the instance is said all the same.
    wanted = status if over else "request-canceled-and-instance-running"
    moment = changed if changed != MADE else CANCELLED
    for persistent in (False, True):
        asked = {"cancelled": CANCELLED, "status_time": TRIED, "persistent": persistent}
        assert shown(asked, instance) == ("cancelled", wanted, moment)
    assert {status, wanted} <= set(MESSAGES)
