"""A ClientToken gives the first request's result for a day."""

from datetime import timedelta

import pytest

from stead_controller.errors import IdempotencyMismatch, InvalidParameter
from stead_controller.request import client_tokens
from tests.support.rows import NOW


def test_a_repeated_token_gives_what_the_first_made(world, run):
    caller = world.one.caller
    assert run(client_tokens.replay, caller, "RunInstances", "t", digest="d", now=NOW) is None
    run(client_tokens.remember, caller, "RunInstances", "t", digest="d", resource_id="r-1", now=NOW)
    assert run(client_tokens.replay, caller, "RunInstances", "t", digest="d", now=NOW + timedelta(hours=23)) == "r-1"
    assert run(client_tokens.replay, caller, "CreateVolume", "t", digest="d", now=NOW) is None
    assert run(client_tokens.replay, world.other.caller, "RunInstances", "t", digest="d", now=NOW) is None
    with pytest.raises(IdempotencyMismatch):
        run(client_tokens.replay, caller, "RunInstances", "t", digest="other", now=NOW)


def test_a_token_may_be_used_anew_after_a_day(world, run):
    caller = world.one.caller
    run(client_tokens.remember, caller, "RunInstances", "t", digest="d", resource_id="r-1", now=NOW)
    later = NOW + timedelta(hours=24)
    assert run(client_tokens.replay, caller, "RunInstances", "t", digest="other", now=later) is None
    run(client_tokens.remember, caller, "RunInstances", "t", digest="other", resource_id="r-2", now=later)
    assert run(client_tokens.replay, caller, "RunInstances", "t", digest="other", now=later) == "r-2"


@pytest.mark.parametrize("token", ["", "x" * 65, "é"])
def test_bad_tokens_are_refused(world, run, token):
    with pytest.raises(InvalidParameter):
        run(client_tokens.replay, world.one.caller, "RunInstances", token, digest="d", now=NOW)
