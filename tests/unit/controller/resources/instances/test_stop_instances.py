"""What a request to stop does beside the change of state: whom it refuses, and how it changes a stop under way."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostResource, Instance, SpotRequest
from stead_controller.errors import Unsupported, WrongState
from stead_controller.resources.instances.instance_states import SCHEDULED_STOP, USER_SHUTDOWN
from stead_controller.resources.instances.stop_instances import scheduled_stop, stop_instances
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import NOW


class Stops:
    """One instance, and what its host is sent of it."""

    def __init__(self, world, run):
        self.world, self._run = world, run
        self.id = ""

    def launch(self, **changes):
        self.id = self._run(lambda tx: rows.launch(tx, self.world, self.world.one, **changes).id)

    def stop(self, **how):
        return self._run(lambda tx: stop_instances(tx, self.world.one.caller, [self.id], NOW, **how))

    def row(self):
        return self._run(lambda tx: tx.session.get_one(Instance, self.id))

    def revision(self):
        """The revision at which its host is sent the machine; 0 if it is not."""
        query = select(HostResource.revision).where(
            HostResource.resource_id == self.id, HostResource.kind == desired.KIND_MACHINE
        )
        return self._run(lambda tx: tx.session.scalar(query) or 0)


@pytest.fixture
def stops(world, run):
    return Stops(world, run)


def test_one_with_stop_protection_is_refused_also_where_it_has_stopped(stops):
    for number, state in enumerate(("running", "stopped")):
        stops.launch(number=number, state=state, disable_api_stop=True)
        with pytest.raises(WrongState, match="may not be stopped") as caught:
            stops.stop()
        assert caught.value.code == "OperationNotPermitted"
        assert stops.row().state == state


def test_one_that_is_launched_cannot_be_stopped_and_one_that_starts_again_can(stops):
    stops.launch(state="pending")
    with pytest.raises(WrongState, match="cannot be stopped as it has never reached the 'running' state"):
        stops.stop()
    stops.launch(number=1, state="pending", start_count=2)
    [change] = stops.stop()
    assert (change.previous, change.current) == ("pending", "stopping")


@pytest.mark.parametrize("persistent", [False, True])
def test_only_a_spot_instance_of_a_persistent_request_is_stopped(stops, run, persistent):
    stops.launch()

    def ask(tx):
        request = SpotRequest(
            id="sir-1",
            account_id=stops.world.one.caller.account_id,
            instance_id=stops.id,
            created=NOW,
            persistent=persistent,
        )
        tx.session.add(request)
        tx.session.flush()
        tx.session.get_one(Instance, stops.id).spot_request_id = request.id

    run(ask)
    if persistent:
        [change] = stops.stop()
        assert change.current == "stopping"
    else:
        with pytest.raises(Unsupported, match="one-time Spot Instance request"):
            stops.stop()
        assert stops.row().state == "running"


@pytest.mark.parametrize("state", ["stopping", "stopped"])
def test_what_a_drain_has_stopped_stays_off_when_its_user_stops_it_too(stops, state):
    scheduled = {"state_reason_code": SCHEDULED_STOP.code, "state_reason_message": SCHEDULED_STOP.message}
    stops.launch(state=state, **scheduled)
    stops.stop()
    row = stops.row()
    assert (row.state, row.state_reason_code, row.state_reason_message) == (
        state,
        USER_SHUTDOWN.code,
        USER_SHUTDOWN.message,
    )


def test_another_reason_for_which_it_is_off_stays(stops):
    stops.launch(state="stopped", state_reason_code="Client.InstanceInitiatedShutdown", state_reason_message="itself")
    stops.stop()
    assert stops.row().state_reason_code == "Client.InstanceInitiatedShutdown"


def test_a_stop_is_sent_to_the_host_and_may_be_hastened_but_not_slowed_down(stops):
    stops.launch()
    stops.stop()
    first = stops.revision()
    assert first > 0
    stops.stop()
    assert stops.revision() == first  # no news
    stops.stop(hasten=True)
    hastened = stops.revision()
    assert hastened > first
    stops.stop(skip_shutdown=True)
    row = stops.row()
    assert (row.hasten_stop, row.force_stop, stops.revision() > hastened) == (True, True, True)
    stops.stop()
    row = stops.row()
    assert (row.hasten_stop, row.force_stop) == (True, True)


def test_one_that_is_off_is_not_hastened(stops):
    stops.launch(state="stopped")
    stops.stop(hasten=True, skip_shutdown=True)
    row = stops.row()
    assert (row.hasten_stop, row.force_stop, stops.revision()) == (False, False, 0)


def test_each_stop_begins_with_what_it_asks_for(stops):
    stops.launch(hasten_stop=True, force_stop=True, hibernate_stop=True)
    stops.stop()
    row = stops.row()
    assert (row.hasten_stop, row.force_stop, row.hibernate_stop) == (False, False, False)


def test_a_scheduled_stop_takes_its_time_and_is_sent(stops, run):
    stops.launch(hasten_stop=True, force_stop=True, hibernate_stop=True, disable_api_stop=True)
    run(lambda tx: scheduled_stop(tx, tx.session.get_one(Instance, stops.id), NOW))
    row = stops.row()
    assert (row.state, row.state_reason_code) == ("stopping", SCHEDULED_STOP.code)
    assert (row.hasten_stop, row.force_stop, row.hibernate_stop, stops.revision() > 0) == (False, False, False, True)
