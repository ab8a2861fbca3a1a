"""What a request to terminate does beside the change of state: whom it refuses, and how much time guests have."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostResource, Instance
from stead_controller.desired import desired_state
from stead_controller.errors import WrongState
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import NOW

STATES = ("pending", "running", "stopping", "stopped", "shutting-down")


class Ends:
    """Instances, and what their host is sent of them."""

    def __init__(self, world, run):
        self.world, self._run = world, run
        self._count = 0

    def launch(self, *, sent=True, **changes):
        self._count += 1

        def make(tx):
            made = rows.launch(tx, self.world, self.world.one, number=self._count, **changes)
            if sent:
                desired_state.refresh_instance(tx, made.id)
            return made.id

        return self._run(make)

    def set(self, instance_id, state):
        self._run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", state))

    def end(self, *instance_ids, **how):
        return self._run(lambda tx: terminate_instances(tx, self.world.one.caller, instance_ids, NOW, **how))

    def state(self, instance_id):
        return self._run(lambda tx: tx.session.get_one(Instance, instance_id).state)

    def removal(self, instance_id):
        """Whether its host is to remove the machine by force; None if it is not to remove it."""
        query = select(HostResource.force).where(
            HostResource.resource_id == instance_id,
            HostResource.kind == desired.KIND_MACHINE,
            HostResource.body.is_(None),
        )
        return self._run(lambda tx: tx.session.scalar(query))


@pytest.fixture
def ends(world, run):
    return Ends(world, run)


@pytest.mark.parametrize("protection", ["disable_api_termination", "disable_api_stop"])
@pytest.mark.parametrize("state", STATES)
def test_one_with_either_protection_is_refused_and_so_are_those_named_with_it(ends, state, protection):
    """Stop protection protects from termination, too, as EC2's guide says of it."""
    other, protected = ends.launch(), ends.launch(state=state, **{protection: True})
    attribute = {"disable_api_termination": "disableApiTermination", "disable_api_stop": "disableApiStop"}[protection]
    words = f"'{protected}' may not be terminated. Modify its '{attribute}' instance"
    with pytest.raises(WrongState, match=words) as caught:
        ends.end(other, protected)
    assert caught.value.code == "OperationNotPermitted"
    assert (ends.state(other), ends.state(protected), ends.removal(other)) == ("running", state, None)


def test_one_that_is_gone_is_not_protected_any_more(ends):
    gone = ends.launch(sent=False, state="terminated", disable_api_termination=True, disable_api_stop=True)
    [change] = ends.end(gone)
    assert (change.previous, change.current) == ("terminated", "terminated")


def test_a_group_ends_one_that_is_protected_from_requests(ends):
    protected = ends.launch(disable_api_termination=True, disable_api_stop=True)
    [change] = ends.end(protected, even_protected=True)
    assert (change.current, ends.removal(protected)) == ("shutting-down", False)


@pytest.mark.parametrize("skip_shutdown", [False, True])
def test_a_guest_has_some_seconds_unless_it_is_to_have_none(ends, skip_shutdown):
    instance_id = ends.launch()
    ends.end(instance_id, skip_shutdown=skip_shutdown)
    assert ends.removal(instance_id) is skip_shutdown


def test_one_that_is_ending_is_ended_at_once_only_when_that_is_asked(ends):
    instance_id = ends.launch()
    ends.end(instance_id)
    ends.end(instance_id)
    assert ends.removal(instance_id) is False
    [change] = ends.end(instance_id, skip_shutdown=True)
    assert (change.previous, change.current) == ("shutting-down", "shutting-down")
    assert ends.removal(instance_id) is True


def test_no_host_hears_of_one_that_is_gone(ends):
    gone = ends.launch()
    ends.set(gone, "terminated")
    ends.end(gone, skip_shutdown=True)
    assert ends.removal(gone) is None


@pytest.mark.parametrize("state", ["stopped", "shutting-down"])
def test_one_without_a_host_ends_too(ends, state):
    instance_id = ends.launch(sent=False, state=state, host_id=None)
    [change] = ends.end(instance_id, skip_shutdown=True)
    assert (change.current, ends.removal(instance_id)) == ("shutting-down", None)
