"""Whom a Principal element means, and how directly."""

import pytest

from stead_controller.authorization.principals import Match, Principal, principals_of

ACCOUNT, OTHER = "111122223333", "444455556666"
ROLE_ARN, SESSION_ARN = f"arn:aws:iam::{ACCOUNT}:role/r", f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"
USER = Principal(f"arn:aws:iam::{ACCOUNT}:user/ana", ACCOUNT, "user", user_id="AIDAEXAMPLEEXAMPLE00")
NAMELESS = Principal(f"arn:aws:iam::{ACCOUNT}:user/bob", ACCOUNT, "user")
SESSION = Principal(ROLE_ARN, ACCOUNT, "role", session_arn=SESSION_ARN, user_id="AROAEXAMPLEEXAMPLE00")
SERVICE = Principal("ec2.amazonaws.com", "", "service")
PROVIDER = Principal("arn:aws:iam::111122223333:oidc-provider/one.example.com", "", "provider")
ANONYMOUS = Principal("", "", "anonymous")


@pytest.mark.parametrize(
    ("element", "principal", "match"),
    [
        ("*", USER, Match.IDENTITY),
        ("*", ANONYMOUS, Match.IDENTITY),
        ("*", SERVICE, Match.NO),  # of services and providers nobody is everybody
        ("*", PROVIDER, Match.NO),
        ({"AWS": "*"}, SESSION, Match.IDENTITY),
        ({"AWS": ["*", SESSION_ARN]}, SESSION, Match.SESSION),
        ({"AWS": [ROLE_ARN, SESSION_ARN]}, SESSION, Match.SESSION),
        ({"AWS": ROLE_ARN}, SESSION, Match.IDENTITY),
        ({"AWS": "AROAEXAMPLEEXAMPLE00"}, SESSION, Match.IDENTITY),
        ({"AWS": SESSION_ARN}, USER, Match.NO),
        ({"AWS": USER.arn}, USER, Match.IDENTITY),
        ({"AWS": USER.user_id}, USER, Match.IDENTITY),
        ({"AWS": USER.user_id}, NAMELESS, Match.NO),
        ({"AWS": NAMELESS.arn}, NAMELESS, Match.IDENTITY),
        ({"AWS": ACCOUNT}, USER, Match.ACCOUNT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, USER, Match.ACCOUNT),
        ({"AWS": OTHER}, USER, Match.NO),
        ({"AWS": ACCOUNT}, ANONYMOUS, Match.NO),
        ({"Service": "ec2.amazonaws.com"}, SERVICE, Match.IDENTITY),
        ({"Service": "dlm.amazonaws.com"}, SERVICE, Match.NO),
        ({"Service": "ec2.amazonaws.com"}, USER, Match.NO),
        ({"Federated": PROVIDER.arn}, PROVIDER, Match.IDENTITY),
        ({"Federated": PROVIDER.arn.replace("one.", "two.")}, PROVIDER, Match.NO),
        ({"Federated": PROVIDER.arn}, SERVICE, Match.NO),
        ({"Service": "ec2.amazonaws.com"}, PROVIDER, Match.NO),
    ],
)
def test_who_is_meant(element: object, principal: Principal, match: Match) -> None:
    assert principals_of(element).match(principal) is match


@pytest.mark.parametrize(
    ("element", "named"),
    [
        ("user", '"user"'),
        ([], '"[]"'),
        ({}, '"{}"'),
        ({"AWS": "*", "Nobody": "*"}, '"Nobody"'),
        ({"Service": "EC2"}, '"SERVICE":"EC2"'),
        ({"Service": ""}, '""'),
        ({"Federated": ""}, '""'),
        ({"CanonicalUser": ["a", ""]}, '""'),
        ({"AWS": [1]}, '"1"'),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/*"}, '"AWS":'),
    ],
)
def test_principals_that_match_no_caller_are_refused_by_name(element: object, named: str) -> None:
    with pytest.raises(ValueError, match="Invalid principal in policy: ") as refusal:
        principals_of(element)
    assert named in str(refusal.value)


def test_who_can_have_policies():
    """An account's own identities; a service, a provider and nobody in particular have none."""
    assert all(who.has_policies for who in (USER, SESSION))
    assert not any(who.has_policies for who in (SERVICE, PROVIDER, ANONYMOUS))
