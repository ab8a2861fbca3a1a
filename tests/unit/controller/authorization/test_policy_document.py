"""IAM's grammar, read strictly: what it allows is read, everything else is refused when it is written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.authorization.policy_document import (
    Actions,
    MalformedPolicy,
    Resources,
    parse,
    parse_new,
)

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
    ("identity", policy(statement(Resource=["arn:aws-cn:s3*", "arn:aws-us-gov:s3:::b", "arn:*:s3:*", "arn:aws:*"]))),
    ("identity", policy(statement(), statement())),
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
    ("identity", '{"Statement": 5}', SYNTAX),
    ("identity", policy(5), SYNTAX),
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
    ("identity", policy(statement(Action=["ec2:*", 1])), SYNTAX),
    ("identity", policy(statement(Action=5)), SYNTAX),
    ("identity", policy(statement(Action={})), SYNTAX),
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
    ("identity", policy(statement(Resource="arn:aws")), 'Resource arn:aws must be in ARN format or "*".'),
    ("identity", policy(statement(Resource="a:aws:s3:::b")), 'Resource a:aws:s3:::b must be in ARN format or "*".'),
    ("identity", policy(statement(Resource="arn:aws:s3::b")), 'Resource arn:aws:s3::b must be in ARN format or "*".'),
    ("identity", policy(statement(Resource="arn:x:s3:::b")), 'Partition "x" is not valid for resource "arn:x:s3:::b".'),
    ("identity", policy(statement(Resource="arn:aws:s 3:::b")), "Vendor s 3 is not valid"),
    ("identity", policy(statement(Sid="a b")), None),
    ("resource", policy(statement(Sid=1, Principal="*")), None),
    (
        "identity",
        policy(statement(Sid="a"), statement(Sid="a")),
        "Statement IDs (SID) in a single policy must be unique.",
    ),
    ("identity", policy(statement(Principal="*")), "Policy document should not specify a principal."),
    ("identity", policy(statement(Condition=[])), SYNTAX),
    ("identity", policy(statement(Condition={"StringEquals": "a"})), SYNTAX),
    ("identity", policy(statement(Condition={"StringEquals": {"aws:a": {}}})), SYNTAX),
    ("identity", policy(statement(Condition={"StringEquals": {"aws:a": ["a", None]}})), SYNTAX),
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
    ("trust", policy({**TRUST, "NotResource": "*"}), "Has prohibited field NotResource"),
    (
        "trust",
        policy({**statement("Principal", "Resource"), "Effect": "Deny", "NotPrincipal": {"AWS": "111122223333"}}),
        "Has prohibited field NotPrincipal",
    ),
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


@pytest.mark.parametrize(
    ("texts", "action", "included"),
    [
        (["*"], "ec2:runinstances", True),
        (["EC2:RunInstances"], "ec2:runinstances", True),
        (["ec2:RunInstances"], "ec2:stopinstances", False),
        (["s3:*", "ec2:Run*", "ec2:*Images"], "ec2:runinstances", True),
        (["s3:*", "ec2:Run*", "ec2:*Images"], "ec2:describeimages", True),
        (["s3:*", "ec2:Run*", "ec2:*Images"], "ec2:stopinstances", False),
        (["ec2:Run?nstances"], "ec2:runinstances", True),
        (["ec2:Run?nstances"], "ec2:runnstances", False),
        (["s3:*"], "ec2:runinstances", False),
        ([], "ec2:runinstances", False),
    ],
)
def test_actions_are_meant_by_service_and_name_whatever_their_case(texts, action, included):
    assert Actions(texts).include(action) == included


@pytest.mark.parametrize(
    ("text", "arn", "included"),
    [
        ("*", "arn:aws:s3:::b", True),
        ("*", "*", True),
        ("arn:aws:s3:::b", "arn:aws:s3:::b", True),
        ("arn:aws:s3:::b", "arn:aws:s3:::B", False),
        ("arn:aws:s3:::b", "arn:aws:s3:::bc", False),
        ("arn:aws:s3:::b*", "arn:aws:s3:::bc", True),
        ("arn:aws:s3:::b?", "arn:aws:s3:::b", False),
        ("arn:aws:s3:::${aws:username}", "arn:aws:s3:::ada", True),
        ("arn:aws:s3:::${aws:username}", "arn:aws:s3:::eve", False),
        ("arn:aws:s3:::${aws:userid}", "arn:aws:s3:::", False),
        ("arn:aws:s3:::a${*}", "arn:aws:s3:::a*", True),
        ("arn:aws:s3:::a${*}", "arn:aws:s3:::ab", False),
    ],
)
def test_resources_are_meant_exactly_but_for_wildcards_and_variables(text, arn, included):
    others = "arn:aws:ec2:::other"
    context = {"aws:username": ("ada",)}
    assert Resources([others, text], variables=True).include(arn, context) == included


def test_the_variables_of_resources_are_known():
    texts = ["arn:aws:s3:::b", "arn:aws:s3:::${aws:UserName}/${k}", "arn:aws:s3:::a*"]
    assert Resources(texts, variables=True).variables == {"aws:username", "k"}
    assert Resources(texts, variables=False).variables == frozenset()


def the_statement(text, kind="identity"):
    (one,) = parse(text, kind).statements
    return one


def test_what_is_named_by_not_is_all_else():
    text = policy(statement("Action", "Resource", NotAction="ec2:*", NotResource="arn:aws:s3:::b"))
    one = the_statement(text)
    assert (one.is_about("iam:getuser"), one.is_about("ec2:runinstances")) == (True, False)
    assert (one.covers("arn:aws:s3:::a", {}), one.covers("arn:aws:s3:::b", {})) == (True, False)
    plain = the_statement(policy(statement(Resource="arn:aws:s3:::b")))
    assert (plain.is_about("iam:getuser"), plain.is_about("ec2:runinstances")) == (False, True)
    assert (plain.covers("arn:aws:s3:::a", {}), plain.covers("arn:aws:s3:::b", {})) == (False, True)


def test_a_trust_policy_is_about_its_role():
    one = the_statement(policy(TRUST), "trust")
    assert one.covers("arn:aws:iam::111122223333:role/r", {})
    assert (one.resources, one.not_principals, one.allows) == (None, False, True)


def test_who_is_not_named_is_denied():
    text = policy(statement(Effect="Deny", NotPrincipal={"AWS": "111122223333"}))
    one = the_statement(text, "resource")
    assert (one.not_principals, one.allows) == (True, False)


def test_the_keys_that_a_statement_looks_at_are_of_conditions_and_variables():
    conditions = {"StringEquals": {"aws:RequestTag/A": "${aws:username}"}, "Null": {"S3:Prefix": True}}
    one = the_statement(policy(statement(Resource="arn:aws:s3:::${aws:userid}", Condition=conditions, Sid="a")))
    assert one.keys == {"aws:requesttag/a", "aws:username", "s3:prefix", "aws:userid"}
    assert (one.sid, the_statement(policy(statement())).sid) == ("a", "")


def test_all_conditions_must_hold():
    conditions = {"StringEquals": {"aws:a": "1", "aws:b": "2"}}
    one = the_statement(policy(statement(Condition=conditions)))
    assert one.holds({"aws:a": ("1",), "aws:b": ("2",)})
    assert not one.holds({"aws:a": ("1",), "aws:b": ("1",)})


@pytest.mark.parametrize(
    ("value", "given"),
    [(True, "true"), (False, "false"), (5, "5"), (0.5, "0.5"), (["a", "b"], "b"), (["a", True], "true")],
)
def test_numbers_and_truth_values_are_written_without_quotation_marks_too(value, given):
    one = the_statement(policy(statement(Condition={"StringEquals": {"aws:a": value}})))
    assert one.holds({"aws:a": (given,)})
    assert not one.holds({"aws:a": (given.upper() + "x",)})


@pytest.mark.parametrize(("version", "holds"), [("2012-10-17", True), ("2008-10-17", False), (None, False)])
def test_only_the_newer_version_has_variables(version, holds):
    text = policy(
        statement(Resource="arn:aws:s3:::${aws:username}", Condition={"StringEquals": {"aws:a": "${aws:username}"}}),
        Version=version,
    )
    text = text if version else text.replace('"Version": null, ', "")
    one = the_statement(text)
    context = {"aws:username": ("ada",), "aws:a": ("ada",)}
    assert one.covers("arn:aws:s3:::ada", context) == one.holds(context) == holds
    literally = {"aws:a": ("${aws:username}",)}
    assert one.covers("arn:aws:s3:::${aws:username}", {}) == one.holds(literally) == (not holds)


def test_a_document_knows_what_is_about_an_action_and_which_keys_decide():
    tagged = statement(Action="ec2:Run*", Condition={"StringEquals": {"aws:a": "1"}})
    document = parse(policy(tagged, statement(Action="s3:*")))
    assert [one.index for one in document.about("ec2:runinstances")] == [1]
    assert [one.index for one in document.about("s3:getobject")] == [2]
    assert document.about("iam:getuser") == ()
    assert (document.keys_about("ec2:runinstances"), document.keys_about("s3:getobject")) == ({"aws:a"}, frozenset())
    assert document.keys_about("ec2:runimages") == {"aws:a"}
    first, keys = document.about("ec2:runinstances"), document.keys_about("ec2:runinstances")
    assert document.about("s3:putobject") is not first
    assert document.about("ec2:runinstances") is first
    assert document.keys_about("ec2:runinstances") is keys


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
