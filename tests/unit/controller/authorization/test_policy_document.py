"""IAM's grammar, read strictly: what it allows is read, everything else is refused when it is written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.authorization.policy_document import MalformedPolicy, parse, parse_new

GOOD = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}


def statement(*without, **changes):
    return {name: value for name, value in {**GOOD, **changes}.items() if name not in without}


def policy(*statements, **changes):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **changes})


TRUST = statement("Resource", Action="sts:AssumeRole", Principal={"AWS": "111122223333"})

READ = [
    ("identity", policy(statement())),
    ("identity", json.dumps({"Statement": statement()})),
    ("identity", policy(statement(), Version="2008-10-17", Id="an id")),
    (
        "identity",
        policy(statement("Action", NotAction=["iam:*", "sts:GetCaller?dentity"], Sid="A1"), statement(Sid="b")),
    ),
    ("identity", policy(statement("Resource", NotResource=["arn:aws:s3:::a/*", "arn:aws:s3:::a"]))),
    ("identity", policy(statement(Resource="arn:aws:iam::*:user/${aws:username}"))),
    ("identity", policy(statement(Condition={"NumericLessThan": {"aws:MultiFactorAuthAge": 3600}}))),
    (
        "identity",
        policy(statement(Condition={"Bool": {"aws:SecureTransport": True}, "Null": {"aws:TokenIssueTime": "true"}})),
    ),
    ("identity", policy(statement(Condition={"ForAllValues:StringLikeIfExists": {"aws:TagKeys": ["a*", "b"]}}))),
    ("identity", policy(statement(Condition={"stringequals": {"AWS:RequestTag/Team:x": "a"}}))),
    ("resource", policy(statement(Principal="*", Sid="any text, for a bucket"))),
    ("resource", policy(statement(Principal={"AWS": ["arn:aws:iam::111122223333:user/a/b", "AIDAEXAMPLEEXAMPLE00"]}))),
    ("resource", policy(statement(Effect="Deny", NotPrincipal={"AWS": "arn:aws:iam::111122223333:root"}))),
    ("trust", policy(TRUST)),
    ("trust", policy({**TRUST, "Principal": {"Service": "ec2.amazonaws.com"}})),
    (
        "trust",
        policy({**TRUST, "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/issuer.example.com"}}),
    ),
]


@pytest.mark.parametrize(("kind", "text"), READ)
def test_it_is_read(kind, text):
    assert parse(text, kind).statements


SYNTAX = "Syntax errors in policy."
REFUSED = [
    ("identity", "", "This policy contains invalid Json"),
    ("identity", "{", "This policy contains invalid Json"),
    ("identity", '{"Statement": NaN}', "This policy contains invalid Json"),
    ("identity", "[" * 5000, "This policy contains invalid Json"),
    ("identity", "[]", SYNTAX),
    ("identity", "{}", SYNTAX),
    ("identity", policy(), SYNTAX),
    ("identity", policy("text"), SYNTAX),
    ("identity", policy(statement(), Extra=1), SYNTAX),
    ("identity", policy(statement(), Id=1), SYNTAX),
    ("identity", policy(statement(), Version="2020-01-01"), SYNTAX),
    ("identity", policy(statement(Extra=1)), SYNTAX),
    ("identity", policy(statement("Effect")), "Missing required field Effect"),
    ("identity", policy(statement(Effect="allow")), "Invalid effect: allow"),
    ("identity", policy(statement("Action")), "Policy statement must contain actions."),
    ("identity", policy(statement(Action=[])), "Policy statement must contain actions."),
    ("identity", policy(statement(NotAction="ec2:*")), SYNTAX),
    ("identity", policy(statement(Action=[1])), SYNTAX),
    (
        "identity",
        policy(statement(Action="RunInstances")),
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
    ),
    ("identity", policy(statement(Action="e*:Run")), "Vendor e* is not valid"),
    ("identity", policy(statement(Action="ec2:Run:x")), "Actions/Condition can contain only one colon."),
    ("identity", policy(statement("Resource")), "Policy statement must contain resources."),
    ("identity", policy(statement(NotResource="*")), SYNTAX),
    ("identity", policy(statement(Resource="i-1")), 'Resource i-1 must be in ARN format or "*".'),
    ("identity", policy(statement(Resource="arn:aws:s3::b")), 'Resource arn:aws:s3::b must be in ARN format or "*".'),
    ("identity", policy(statement(Resource="arn:x:s3:::b")), 'Partition "x" is not valid for resource "arn:x:s3:::b".'),
    ("identity", policy(statement(Resource="arn:aws:s 3:::b")), "Vendor s 3 is not valid"),
    ("identity", policy(statement(Sid="a b")), None),
    (
        "identity",
        policy(statement(Sid="a"), statement(Sid="a")),
        "Statement IDs (SID) in a single policy must be unique.",
    ),
    ("identity", policy(statement(Principal="*")), "Policy document should not specify a principal."),
    ("identity", policy(statement(Condition=[])), SYNTAX),
    ("identity", policy(statement(Condition={"StringEquals": "a"})), SYNTAX),
    ("identity", policy(statement(Condition={"StringEquals": {"aws:a": {}}})), SYNTAX),
    (
        "identity",
        policy(statement(Condition={"StringEqual": {"aws:username": "a"}})),
        "Invalid Condition type : StringEqual.",
    ),
    ("identity", policy(statement(Condition={"NullIfExists": {"aws:username": "true"}})), None),
    ("identity", policy(statement(Condition={"ForSome:StringLike": {"aws:username": "a"}})), None),
    ("identity", policy(statement(Condition={"StringEquals": {"username": "a"}})), None),
    ("identity", '{"Statement": {"Effect": "Allow", "Effect": "Deny", "Action": "*", "Resource": "*"}}', SYNTAX),
    ("resource", policy(statement()), "Missing required field Principal"),
    ("resource", policy(statement(Principal="*", NotPrincipal="*")), SYNTAX),
    ("resource", policy(statement(Principal={"AWS": ["*", ""]})), 'Invalid principal in policy: ""'),
    ("resource", policy(statement(Principal={"AWS": "arn:aws:iam::111122223333:user/*"})), None),
    ("resource", policy(statement(Principal={"AWS": "12"})), 'Invalid principal in policy: "AWS":"12"'),
    ("resource", policy(statement(Principal={"Nobody": "*"})), 'Invalid principal in policy: "Nobody"'),
    ("resource", policy(statement(Principal={})), None),
    ("resource", policy(statement(NotPrincipal={"AWS": "111122223333"})), "Has prohibited field NotPrincipal"),
    ("trust", policy({**TRUST, "Resource": "*"}), "Has prohibited field Resource"),
    ("trust", policy({**TRUST, "Principal": {"Service": "ec2"}}), 'Invalid principal in policy: "SERVICE":"ec2"'),
]


@pytest.mark.parametrize(("kind", "text", "message"), REFUSED)
def test_it_is_refused(kind, text, message):
    with pytest.raises(MalformedPolicy) as refusal:
        parse(text, kind)
    assert refusal.value.code == "MalformedPolicyDocument"
    assert message is None or refusal.value.message == message


@pytest.mark.parametrize(
    "condition",
    [
        {"DateGreaterThan": {"aws:CurrentTime": "soon"}},
        {"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "10.0.0.0/33"]}},
    ],
)
def test_what_compares_to_nothing_is_read_but_not_written(condition):
    """A deny that can never hold is no deny; one that was written before this was known still counts as it did."""
    text = policy(statement(), statement(Effect="Deny", Condition=condition))
    assert parse(text).statements
    with pytest.raises(MalformedPolicy, match="The policy failed legacy parsing"):
        parse_new(text)


def test_what_is_written_well_is_read_as_it_is():
    assert parse_new(policy(statement())).statements == parse(policy(statement())).statements


def test_a_document_remembers_no_more_than_a_few_actions():
    document = parse(policy(statement(Action="ec2:*"), statement("Action", NotAction="ec2:*", Effect="Deny")))
    for number in range(1000):
        assert [one.allows for one in document.about(f"ec2:{number}")] == [True]
        assert [one.allows for one in document.about(f"iam:{number}")] == [False]
    assert len(document._about) <= 64


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["*", "ec2:*", "Allow", "arn:aws:s3:::*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*GOOD, "Condition", "Principal", "StringLike", "AWS"]) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.one_of(
        st.text(max_size=40),
        VALUES.map(json.dumps),
        VALUES.map(policy),
        VALUES.map(lambda value: policy(statement(Condition=value))),
    ),
    st.sampled_from(["identity", "resource", "trust"]),
)
def test_nothing_else_is_raised(text, kind):
    try:
        message = f"{len(parse(text, kind).statements)} statements"
    except MalformedPolicy as refusal:
        message = refusal.message
    assert 0 < len(message) < 500


def test_what_was_read_is_not_read_again():
    text = policy(statement(Sid="once"))
    assert parse(text) is parse(str(text.encode(), "utf-8"))
