"""AWS's documented evaluation logic as a table, and any policies against a second, naive evaluator."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import (
    ALLOW_ALL,
    ALLOW_NOTHING,
    Policies,
    Request,
    evaluate,
    evaluate_endpoint,
    of_principal,
)
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.principals import Principal
from tests.unit.controller.authorization import naive

ACCOUNT, OTHER = "111122223333", "444455556666"
USER = Principal(f"arn:aws:iam::{ACCOUNT}:user/ada", ACCOUNT, "user", user_id="AIDAEXAMPLEEXAMPLE")
ROLE = Principal(f"arn:aws:iam::{ACCOUNT}:role/r", ACCOUNT, "role", f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s")
FEDERATED = Principal(
    f"arn:aws:iam::{ACCOUNT}:user/ada", ACCOUNT, "federated", f"arn:aws:sts::{ACCOUNT}:federated-user/f"
)
ROOT = Principal(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "root")
SERVICE = Principal("ec2.amazonaws.com", "", "service")
PROVIDER = Principal("issuer.example.com", "", "provider")
ANONYMOUS = Principal("", "", "anonymous")
BUCKET = "arn:aws:s3:::bucket/key"


def document(effect="Allow", **more):
    statement = {"Effect": effect, "Action": "s3:GetObject", "Resource": "*", **more}
    for name, value in list(statement.items()):
        if value is None:
            del statement[name]
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def resource_policy(principal, effect="Allow", kind="resource"):
    return parse(document(effect, Principal=principal, **({"Resource": None} if kind == "trust" else {})), kind)


def policies(identity=(), boundary=None, session=None, *, resource=None, account="", must=False):
    own = of_principal(list(identity), boundary, session)
    return Policies(own.identity, own.boundary, own.session, resource, account, must)


ALLOW, DENY, OTHERS = document(), document("Deny"), document(Action="ec2:*")
TO_ACCOUNT = resource_policy({"AWS": ACCOUNT})
TO_USER, TO_ROLE = resource_policy({"AWS": USER.arn}), resource_policy({"AWS": ROLE.arn})
TO_SESSION = resource_policy({"AWS": [ROLE.session_arn, FEDERATED.session_arn]})
TO_ALL = resource_policy("*")
REFUSING = resource_policy({"AWS": "*"}, "Deny")

# What is there, who asks, whether it is allowed, and which kind of policy lacks or denies.
TABLE = [
    # An implicit deny; an allow; an explicit deny overrides it, wherever it stands.
    ("nothing", USER, policies(), False, "identity"),
    ("another action", USER, policies([OTHERS]), False, "identity"),
    ("identity allows", USER, policies([OTHERS, ALLOW]), True, ""),
    ("identity denies", USER, policies([ALLOW, DENY]), False, "identity"),
    ("resource denies", USER, policies([ALLOW], resource=REFUSING), False, "resource"),
    ("resource denies root", ROOT, Policies((ALLOW_ALL,), resource=REFUSING), False, "resource"),
    ("boundary denies", USER, policies([ALLOW], DENY), False, "boundary"),
    ("session denies", ROLE, policies([ALLOW], session=[ALLOW, DENY]), False, "session"),
    ("root", ROOT, Policies((ALLOW_ALL,)), True, ""),
    # A boundary and session policies limit, and give nothing.
    ("boundary alone", USER, policies(boundary=ALLOW), False, "identity"),
    ("within the boundary", USER, policies([ALLOW], ALLOW), True, ""),
    ("outside the boundary", USER, policies([ALLOW], OTHERS), False, "boundary"),
    ("session alone", ROLE, policies(session=[ALLOW]), False, "identity"),
    ("within the session", ROLE, policies([ALLOW], session=[OTHERS, ALLOW]), True, ""),
    ("outside the session", ROLE, policies([ALLOW], session=[OTHERS]), False, "session"),
    ("all three", ROLE, policies([ALLOW], ALLOW, [ALLOW]), True, ""),
    ("a federated user without session policies", FEDERATED, policies([ALLOW], session=[]), False, "session"),
    # A resource's policy in the same account.
    ("to the account: identity must allow", USER, policies(resource=TO_ACCOUNT), False, "identity"),
    ("to the account, identity allows", USER, policies([ALLOW], resource=TO_ACCOUNT), True, ""),
    ("to the user", USER, policies(resource=TO_USER), True, ""),
    ("to the user, whatever its boundary leaves out", USER, policies([], OTHERS, resource=TO_USER), True, ""),
    ("to the user, whose boundary denies", USER, policies([], DENY, resource=TO_USER), False, "boundary"),
    ("to everybody", USER, policies(resource=TO_ALL), True, ""),
    ("to the role", ROLE, policies(resource=TO_ROLE), True, ""),
    ("to the role within its boundary", ROLE, policies([], ALLOW, resource=TO_ROLE), True, ""),
    ("to the role outside its boundary", ROLE, policies([], OTHERS, resource=TO_ROLE), False, "boundary"),
    ("to the role outside its session", ROLE, policies([], session=[OTHERS], resource=TO_ROLE), False, "session"),
    ("to the session itself", ROLE, policies([], OTHERS, [OTHERS], resource=TO_SESSION), True, ""),
    ("to the federated user itself", FEDERATED, policies([], session=[], resource=TO_SESSION), True, ""),
    ("to somebody else", USER, policies(resource=TO_ROLE), False, "identity"),
    ("by unique id", USER, policies(resource=resource_policy({"AWS": "AIDAEXAMPLEEXAMPLE"})), True, ""),
    # Between accounts both must allow, and naming the account is as good as naming the user.
    ("across, only identity", USER, policies([ALLOW], account=OTHER), False, "resource"),
    ("across, only resource", USER, policies(resource=TO_USER, account=OTHER), False, "identity"),
    ("across, both", USER, policies([ALLOW], resource=TO_USER, account=OTHER), True, ""),
    ("across, to the account", USER, policies([ALLOW], resource=TO_ACCOUNT, account=OTHER), True, ""),
    ("across, boundary", USER, policies([ALLOW], OTHERS, resource=TO_USER, account=OTHER), False, "boundary"),
    ("across, session named", ROLE, policies(resource=TO_SESSION, account=OTHER), False, "identity"),
    # A trust policy must allow in any case.
    ("trust says nothing", USER, policies([ALLOW], resource=TO_ROLE, must=True), False, "resource"),
    ("trust names the user", USER, policies(resource=TO_USER, must=True), True, ""),
    ("trust names the account", USER, policies(resource=TO_ACCOUNT, must=True), False, "identity"),
    ("trust names the account, identity allows", USER, policies([ALLOW], resource=TO_ACCOUNT, must=True), True, ""),
    # Who has no policies depends on the resource's alone.
    ("a service", SERVICE, policies(resource=resource_policy({"Service": "ec2.amazonaws.com"})), True, ""),
    (
        "another service",
        SERVICE,
        policies(resource=resource_policy({"Service": "s3.amazonaws.com"})),
        False,
        "resource",
    ),
    ("a provider", PROVIDER, policies(resource=resource_policy({"Federated": "issuer.example.com"})), True, ""),
    ("nobody, to all", ANONYMOUS, policies(resource=TO_ALL), True, ""),
    ("nobody, to an account", ANONYMOUS, policies(resource=TO_ACCOUNT), False, "resource"),
    ("nobody, no policy", ANONYMOUS, policies(), False, "resource"),
]


@pytest.mark.parametrize(
    ("principal", "there", "allowed", "lacking"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_the_documented_logic(principal, there, allowed, lacking):
    decision = evaluate(Request("s3:GetObject", BUCKET, principal), there)
    assert (decision.allowed, decision.lacking) == (allowed, lacking)
    assert decision.explicit_deny == any(not one.statement.allows for one in decision.matched)


def test_deny_with_not_principal_spares_those_it_names():
    spared = parse(document("Deny", NotPrincipal={"AWS": [USER.arn, ACCOUNT]}), "resource")
    for principal, denied in ((USER, False), (Principal(f"arn:aws:iam::{OTHER}:user/eve", OTHER), True)):
        decision = evaluate(Request("s3:GetObject", BUCKET, principal), policies([ALLOW], resource=spared))
        assert decision.explicit_deny == denied


def test_a_statement_that_decided_is_named():
    there = policies([ALLOW, document("Deny", Sid="NoKeys", Resource=BUCKET)])
    (matched,) = evaluate(Request("s3:GetObject", BUCKET, USER), there).matched
    assert (matched.source, matched.policy, matched.statement.sid) == ("identity", 2, "NoKeys")


def test_the_policy_of_an_endpoint_must_allow_every_caller():
    elsewhere = parse(document(Principal="*", Action="ec2:*"), "resource")
    for principal in (USER, ROLE, ROOT):
        request = Request("s3:GetObject", BUCKET, principal)
        assert evaluate_endpoint(request, TO_ALL).allowed
        assert evaluate_endpoint(request, TO_USER).allowed == (principal is USER)
        for refusing in (REFUSING, elsewhere):
            assert not evaluate_endpoint(request, refusing).allowed


def test_no_policy_allows_nothing():
    assert not evaluate(Request("s3:GetObject", BUCKET, USER), Policies((ALLOW_NOTHING,))).allowed


def test_the_keys_that_decide_are_returned():
    one = document(Condition={"StringEquals": {"aws:ResourceTag/Team": "${aws:username}"}})
    two = document(Action="ec2:*", Condition={"Bool": {"aws:SecureTransport": "true"}})
    there = policies([one, two], document(Resource="arn:aws:s3:::${aws:PrincipalTag/home}/*"))
    assert there.keys_about("s3:GetObject") == {"aws:resourcetag/team", "aws:username", "aws:principaltag/home"}
    assert there.keys_about("ec2:StopInstances") == {"aws:securetransport"}
    assert there.keys_about("iam:GetUser") == frozenset()


# Small sets, so that policies and requests meet often.
ACTIONS = st.sampled_from(
    ["s3:GetObject", "s3:Get*", "S3:getobject", "s3:*", "*", "ec2:Run?nstances", "ec2:RunInstances"]
)
ARNS = st.sampled_from(
    ["*", "arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a?c", "arn:aws:s3:::${aws:username}/*", "arn:aws:s3:::*/abc"]
)
KEYS = ["aws:username", "aws:TagKeys", "s3:prefix", "aws:SourceIp", "aws:CurrentTime"]
OPERATORS = ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "IpAddress"]
OPERATORS += ["NotIpAddress", "NumericLessThan", "NumericNotEquals", "Bool", "Null", "ArnLike", "DateGreaterThan"]
VALUES = [
    "bucket",
    "BUCKET",
    "buck*",
    "a?c",
    "${aws:username}",
    "true",
    "false",
    "5",
    "10.0.0.0/8",
    "10.1.2.3",
    "7",
    "abc",
]
VALUES += ["${s3:prefix, 'abc'}", "2026-01-01T00:00:00Z", "arn:aws:s3:::*"]


@st.composite
def conditions(draw):
    operator = draw(st.sampled_from(OPERATORS))
    if operator != "Null":
        operator = draw(st.sampled_from(["", "", "ForAllValues:", "ForAnyValue:"])) + operator
        operator += draw(st.sampled_from(["", "", "IfExists"]))
    values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=2))
    if operator == "Null":
        values = [draw(st.sampled_from(["true", "false"]))]
    return {operator: {draw(st.sampled_from(KEYS)): values}}


@st.composite
def statements(draw, kind):
    principals = [
        USER.arn,
        ROLE.arn,
        ROLE.session_arn,
        ACCOUNT,
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:iam::{OTHER}:root",
        "*",
    ]
    statement = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        draw(st.sampled_from(["Action", "Action", "NotAction"])): draw(st.lists(ACTIONS, min_size=1, max_size=2)),
        draw(st.sampled_from(["Resource", "Resource", "NotResource"])): draw(st.lists(ARNS, min_size=1, max_size=2)),
        "Condition": draw(st.one_of(st.just({}), conditions())),
    }
    if kind == "resource":
        negated = statement["Effect"] == "Deny" and draw(st.booleans())
        statement["NotPrincipal" if negated else "Principal"] = {
            "AWS": draw(st.lists(st.sampled_from(principals), min_size=1, max_size=2))
        }
    return statement


def documents(kind="identity"):
    versions = st.sampled_from(["2012-10-17", "2012-10-17", "2008-10-17"])
    return st.builds(
        lambda version, found: {"Version": version, "Statement": found},
        versions,
        st.lists(statements(kind), min_size=1, max_size=2),
    )


CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "aws:username": st.sampled_from([["bucket"], ["abc"], ["b*"]]),
        "aws:TagKeys": st.lists(st.sampled_from(["bucket", "abc", "true", "5"]), min_size=1, max_size=3),
        "s3:prefix": st.sampled_from([["abc"], ["axc"], ["5"], ["true"], ["arn:aws:s3:::bucket"]]),
        "aws:SourceIp": st.sampled_from([["10.1.2.3"], ["192.0.2.1"]]),
        "aws:CurrentTime": st.sampled_from([["2026-02-01T00:00:00Z"], ["2025-02-01T00:00:00Z"]]),
    },
)


@given(
    principal=st.sampled_from([USER, ROLE, ROOT, FEDERATED, SERVICE]),
    action=st.sampled_from(["s3:GetObject", "s3:PutObject", "ec2:RunInstances"]),
    arn=st.sampled_from(["*", "arn:aws:s3:::bucket/abc", "arn:aws:s3:::abc/abc", "arn:aws:s3:::b*/x"]),
    context=CONTEXTS,
    identity=st.lists(documents(), max_size=2),
    boundary=st.none() | documents(),
    session=st.none() | st.lists(documents(), max_size=2),
    resource=st.none() | documents("resource"),
    account=st.sampled_from(["", ACCOUNT, OTHER]),
    must=st.booleans(),
)
def test_two_evaluators_agree(*, principal, action, arn, context, identity, boundary, session, resource, account, must):
    there = policies(
        [json.dumps(one) for one in identity],
        None if boundary is None else json.dumps(boundary),
        None if session is None else [json.dumps(one) for one in session],
        resource=None if resource is None else parse(json.dumps(resource), "resource"),
        account=account,
        must=must,
    )
    decision = evaluate(Request(action, arn, principal, context_of(context)), there)
    expected = naive.decide(
        action,
        arn,
        principal,
        context,
        identity,
        boundary=boundary,
        session=session,
        resource=resource,
        account=account,
        must=must,
    )
    assert (decision.allowed, decision.explicit_deny) == expected
