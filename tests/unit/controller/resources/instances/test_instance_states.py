"""What each operation does to an instance in each state: it changes, stays as it is, or is refused whole."""

import pytest

from stead_controller.db.tables import Instance
from stead_controller.errors import WrongState
from stead_controller.resources.instances.instance_states import USER_SHUTDOWN, StateChange, change_state
from stead_controller.resources.instances.reboot_instances import reboot_instances
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from tests.support import rows

STATES = ("pending", "running", "stopping", "stopped", "shutting-down", "terminated")
REFUSED = ""
# The state after it, by the state before it: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
TABLE = {
    "start": ("pending", "running", REFUSED, "pending", REFUSED, REFUSED),
    "stop": (REFUSED, "stopping", "stopping", "stopped", REFUSED, REFUSED),
    "reboot": ("pending", "running", REFUSED, REFUSED, REFUSED, REFUSED),
    "terminate": ("shutting-down", "shutting-down", "shutting-down", "shutting-down", "shutting-down", "terminated"),
}


def _do(tx, operation, world, instance_id):
    caller, ids = world.one.caller, [instance_id]
    match operation:
        case "start":
            return start_instances(tx, caller, world.cloud, ids, rows.NOW)
        case "stop":
            return stop_instances(tx, caller, ids, rows.NOW)
        case "terminate":
            return terminate_instances(tx, caller, ids, rows.NOW)
        case _:
            reboot_instances(tx, caller, ids)
            return None


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("operation", TABLE)
def test_each_operation_in_each_state(world, run, unchanged, operation, before):
    instance_id = run(lambda tx: rows.launch(tx, world, world.one, number=1, state=before).id)
    wanted = TABLE[operation][STATES.index(before)]
    if wanted == REFUSED:
        unchanged()
        words = "cannot be stopped as it has never" if before == "pending" else "is not in a state from which it can be"
        with pytest.raises(WrongState, match=f"'{instance_id}' {words}"):
            run(_do, operation, world, instance_id)
        unchanged()
        return
    changes = run(_do, operation, world, instance_id)
    if changes is not None:
        assert [(each.instance_id, each.previous, each.current) for each in changes] == [(instance_id, before, wanted)]
    instance = run(lambda tx: tx.session.get_one(Instance, instance_id))
    assert instance.state == wanted
    assert instance.reboot_count == (1 if operation == "reboot" else 0)


def test_a_change_has_its_reasons_and_watchers_hear_of_it(world, run):
    def change(tx):
        instance = rows.launch(tx, world, world.one)
        tx.events.clear()
        sent = change_state(tx, instance, "stopping", rows.NOW, USER_SHUTDOWN, transition="why")
        assert sent == StateChange(instance.id, "running", "stopping")
        assert tx.events == {instance.id}
        why = (instance.state_reason_code, instance.state_reason_message)
        assert why == (USER_SHUTDOWN.code, USER_SHUTDOWN.message)
        assert instance.state_transition_reason == "why"
        change_state(tx, instance, "stopped", rows.NOW)
        assert (instance.state_reason_code, instance.state_reason_message) == ("", "")
        assert instance.state_transition_reason == ""

    run(change)
