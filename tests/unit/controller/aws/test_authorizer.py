"""What the authorizer remembers of principals, and for how long."""

from types import SimpleNamespace

import pytest

from stead_controller.aws.authorization import authorizer
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.resources.caller import Caller
from stead_controller.resources.iam_policies_of import PrincipalPolicies

POLICY = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}'


def user(number):
    return Caller("111122223333", f"arn:{number}", f"AIDA{number}", "AKIA", "user", principal_id=f"AIDA{number}")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only the test moves on."""
    made = SimpleNamespace(seconds=100.0)
    made.monotonic = lambda: made.seconds
    monkeypatch.setattr(authorizer, "time", made)
    return made


def test_policies_are_looked_up_once_a_second_and_forgotten_with_time(clock):
    looked = []

    def policies_of(_tx, caller):
        looked.append(caller.user_id)
        return PrincipalPolicies((POLICY,))

    known = PolicyAuthorizer(policies_of)
    for number in range(100):
        known.policies(None, user(number))
    clock.seconds += 0.9
    known.policies(None, user(7))
    assert len(looked) == 100
    clock.seconds += 0.2
    known.policies(None, user(7))
    assert looked[100:] == ["AIDA7"]
    clock.seconds += 10
    known.policies(None, user(7))
    assert list(known._known) == ["AIDA7"]
