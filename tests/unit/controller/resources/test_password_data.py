"""The encrypted password of a Windows guest: asked of a host while the guest runs, and stored as it was last found."""

import pytest

from stead_controller.errors import NotFound
from stead_controller.request import questions
from stead_controller.resources.instances import guest_questions
from tests.support import rows


@pytest.fixture
def launch(world, run):
    return lambda **changes: run(lambda tx: rows.launch(tx, world, world.one, **changes).id)


@pytest.mark.parametrize("state", ["pending", "stopping", "stopped", "shutting-down", "terminated"])
def test_no_host_is_asked_while_the_guest_does_not_run(world, run, launch, state):
    instance_id = launch(state=state)
    assert run(guest_questions.password_data, world.one.caller, instance_id) == (None, "")
    run(guest_questions.keep_password_data, world.one.caller, instance_id, "c2VjcmV0")
    assert run(guest_questions.password_data, world.one.caller, instance_id) == (None, "c2VjcmV0")


def test_what_a_host_found_is_stored(world, run, launch):
    instance_id = launch(state="running")
    question, known = run(guest_questions.password_data, world.one.caller, instance_id)
    assert (question, known) == (questions.PasswordData(world.host_id, instance_id), "")
    # Found, changed, lost, and more than any key makes of a password.
    for found, stored in (
        ("Zmlyc3Q=", "Zmlyc3Q="),
        ("b3RoZXI=", "b3RoZXI="),
        ("", "b3RoZXI="),
        ("A" * 2049, "b3RoZXI="),
    ):
        assert run(guest_questions.keep_password_data, world.one.caller, instance_id, found) == stored
    assert run(guest_questions.password_data, world.one.caller, instance_id)[1] == "b3RoZXI="


def test_another_tenants_guest_has_none(world, run, launch):
    instance_id = launch(state="running")
    for ask in (guest_questions.password_data, lambda *given: guest_questions.keep_password_data(*given, "c2VjcmV0")):
        with pytest.raises(NotFound):
            run(ask, world.other.caller, instance_id)
    assert run(guest_questions.password_data, world.one.caller, instance_id)[1] == ""
