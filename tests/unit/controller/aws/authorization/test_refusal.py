"""What a refusal says to whoever asked, and what it says sealed to whoever may decode it."""

import json
from dataclasses import replace

import pytest

from stead_controller.authorization.evaluate import Decision, Policies, Request, evaluate, evaluate_endpoint
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.principals import Principal
from stead_controller.aws.authorization.refusal import decode, encode, explain, refusal
from stead_controller.errors import BadRequest
from stead_controller.request.caller import Caller
from tests.support.rows import CLOUD

ACCOUNT = "111122223333"
ADA = Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ada", "AIDAEXAMPLE", "AKIA", "user", principal_id="AIDAEXAMPLE")
VOLUME = f"arn:aws:ec2:us-east-1:{ACCOUNT}:volume/vol-1"
REQUEST = Request("ec2:DeleteVolume", VOLUME, Principal(ADA.arn, ACCOUNT), {"ec2:region": ("us-east-1",)})
WHO = f"User: {ADA.arn} is not authorized to perform: ec2:DeleteVolume on resource: {VOLUME}"


def document(effect="Allow", kind="identity", **more):
    statement = {"Effect": effect, "Action": "ec2:*", "Resource": "*", **more}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statement}), kind)


ALLOW, DENY = document(), document("Deny")


@pytest.mark.parametrize(
    ("policies", "why"),
    [
        (Policies(), "because no identity-based policy allows the ec2:DeleteVolume action"),
        (Policies((DENY,)), "with an explicit deny in an identity-based policy"),
        (Policies((ALLOW,), session=()), "because no session policy allows the ec2:DeleteVolume action"),
        (Policies((ALLOW,), session=(DENY,)), "with an explicit deny in a session policy"),
        (Policies((ALLOW,), boundary=DENY), "with an explicit deny in a permissions boundary"),
    ],
)
def test_the_kind_of_policy_that_is_the_reason_is_named(policies, why):
    assert explain(ADA, REQUEST, evaluate(REQUEST, policies)) == f"{WHO} {why}"


def test_a_reason_without_a_policy_is_one_of_the_identity():
    missing = Decision(allowed=False, explicit_deny=False, lacking="", matched=())
    assert explain(ADA, REQUEST, missing).endswith(
        "because no identity-based policy allows the ec2:DeleteVolume action"
    )


@pytest.mark.parametrize(
    ("effect", "why"),
    [
        ("Deny", "with an explicit deny in a VPC endpoint policy"),
        ("Allow", "because no VPC endpoint policy allows the ec2:DeleteVolume action"),
    ],
)
def test_a_vpc_endpoints_policy_is_named_as_such(effect, why):
    action = "ec2:*" if effect == "Deny" else "ec2:CreateVolume"
    decision = evaluate_endpoint(REQUEST, document(effect, "resource", Action=action, Principal="*"))
    assert explain(ADA, REQUEST, decision, by_endpoint=True) == f"{WHO} {why}"


def test_an_action_that_has_no_resource_names_none():
    general = replace(REQUEST, action="ec2:DescribeVolumes", resource_arn="*")
    assert " on resource" not in explain(ADA, general, evaluate(general, Policies()))


def test_ec2_alone_adds_a_sealed_message():
    decision = evaluate(REQUEST, Policies())
    plain = refusal(ADA, REQUEST, decision, service="s3", sealer=CLOUD.sealer)
    assert plain.message == explain(ADA, REQUEST, decision)
    whole = refusal(ADA, REQUEST, decision, service="ec2", sealer=CLOUD.sealer).message
    begin = (
        f"You are not authorized to perform this operation. {plain.message}. Encoded authorization failure message: "
    )
    assert whole.startswith(begin)
    assert json.loads(decode(ADA, whole.removeprefix(begin), CLOUD.sealer))["context"]["action"] == "ec2:DeleteVolume"


def sealed(*policies, request=REQUEST):
    decision = evaluate(request, Policies(policies))
    return json.loads(decode(ADA, encode(ADA, request, decision, CLOUD.sealer), CLOUD.sealer))


def items(*values):
    return {"items": [{"value": value} for value in values]}


def test_the_sealed_message_has_what_was_asked_and_which_statements_decided():
    conditions = {"Bool": {"aws:SecureTransport": True}, "StringLike": {"ec2:Region": ["us-*", "eu-*"]}}
    request = replace(REQUEST, context={"aws:securetransport": ("true",), "ec2:region": ("us-east-1",)})
    assert sealed(ALLOW, document("Deny", Sid="no", Condition=conditions), request=request) == {
        "allowed": False,
        "explicitDeny": True,
        "matchedStatements": {
            "items": [
                {
                    "statementId": "no",
                    "effect": "DENY",
                    "principals": {"items": []},
                    "principalGroups": {"items": []},
                    "actions": items("ec2:*"),
                    "resources": items("*"),
                    "conditions": {
                        "items": [
                            {"key": "aws:SecureTransport", "values": items("True")},
                            {"key": "ec2:Region", "values": items("us-*", "eu-*")},
                        ]
                    },
                }
            ]
        },
        "failures": {"items": []},
        "context": {
            "principal": {"id": "AIDAEXAMPLE", "arn": ADA.arn},
            "action": "ec2:DeleteVolume",
            "resource": VOLUME,
            "conditions": {
                "items": [
                    {"key": "aws:securetransport", "values": items("true")},
                    {"key": "ec2:region", "values": items("us-east-1")},
                ]
            },
        },
    }


def test_a_statement_that_allows_is_shown_as_one():
    assert [one["effect"] for one in sealed(ALLOW)["matchedStatements"]["items"]] == ["ALLOW"]


def test_messages_of_all_lengths_are_decoded():
    """Base64 is sent without the padding that a length may need."""
    for length in range(12):
        request = replace(REQUEST, resource_arn="x" + "".join(chr(97 + number) for number in range(length)))
        assert sealed(ALLOW, request=request)["context"]["resource"] == request.resource_arn


def test_what_was_not_sealed_for_the_account_is_refused():
    encoded = encode(ADA, REQUEST, evaluate(REQUEST, Policies()), CLOUD.sealer)
    other = replace(ADA, account_id="444455556666")
    for caller, text in ((other, encoded), (ADA, "no base64 §"), (ADA, "A"), (ADA, ""), (ADA, encoded[:-8])):
        with pytest.raises(BadRequest) as error:
            decode(caller, text, CLOUD.sealer)
        assert error.value.code == "InvalidAuthorizationMessageException"
