import json

import pytest

from tests.api.identity import READ_ONLY, document, refused, trust

INSTANCE = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
OTHER = "arn:aws:ec2:us-east-1:123456789012:instance/i-2"


@pytest.fixture(scope="module")
def owner(cloud):
    return cloud.new_account()


@pytest.fixture(scope="module")
def iam(owner):
    return owner.client("iam")


def decisions(answer):
    return {
        (result["EvalActionName"], result["EvalResourceName"]): result["EvalDecision"]
        for result in answer["EvaluationResults"]
    }


def test_given_policies_decide_on_each_action_and_resource(iam):
    policies = [
        document("ec2:StartInstances", "ec2:StopInstances"),
        document("ec2:StopInstances", effect="Deny", resource=OTHER),
    ]
    answer = iam.simulate_custom_policy(
        PolicyInputList=policies,
        ActionNames=["ec2:StartInstances", "ec2:StopInstances", "ec2:RebootInstances"],
        ResourceArns=[INSTANCE, OTHER],
    )
    assert decisions(answer) == {
        ("ec2:StartInstances", INSTANCE): "allowed",
        ("ec2:StartInstances", OTHER): "allowed",
        ("ec2:StopInstances", INSTANCE): "allowed",
        ("ec2:StopInstances", OTHER): "explicitDeny",
        ("ec2:RebootInstances", INSTANCE): "implicitDeny",
        ("ec2:RebootInstances", OTHER): "implicitDeny",
    }
    by_resource = [result["ResourceSpecificResults"] for result in answer["EvaluationResults"]]
    assert [[(one["EvalResourceName"], one["EvalResourceDecision"]) for one in each] for each in by_resource][2:4] == [
        [(INSTANCE, "allowed")],
        [(OTHER, "explicitDeny")],
    ]
    assert by_resource[3][0]["MatchedStatements"] == answer["EvaluationResults"][3]["MatchedStatements"]
    [matched] = answer["EvaluationResults"][3]["MatchedStatements"]
    assert matched["SourcePolicyId"] == "PolicyInputList.2"
    first, last = matched["StartPosition"]["Column"], matched["EndPosition"]["Column"]
    assert json.loads(policies[1][first - 1 : last]) == json.loads(policies[1])["Statement"][0]
    pages = iam.get_paginator("simulate_custom_policy").paginate(
        PolicyInputList=policies, ActionNames=["ec2:A", "ec2:B", "ec2:C"], PaginationConfig={"PageSize": 2}
    )
    assert [[result["EvalActionName"] for result in page["EvaluationResults"]] for page in pages] == [
        ["ec2:A", "ec2:B"],
        ["ec2:C"],
    ]


def test_an_answer_is_no_longer_than_can_be_read(iam):
    """Thousands of statements that match each of many actions: pages are short then, and all results come."""
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement] * 1500})
    actions = [f"ec2:A{number}" for number in range(10)]
    pages = list(iam.get_paginator("simulate_custom_policy").paginate(PolicyInputList=[policy], ActionNames=actions))
    assert [result["EvalActionName"] for page in pages for result in page["EvaluationResults"]] == actions
    assert [len(page["EvaluationResults"]) for page in pages] == [4, 4, 2]
    assert len(pages[0]["EvaluationResults"][0]["MatchedStatements"]) == 1500
    other = policy.replace('"*", "Resource"', '"s3:*", "Resource"')
    asked = {"PolicyInputList": [other] * 4, "ActionNames": actions * 6}  # 6,000 statements, none of which matches
    pages = list(iam.get_paginator("simulate_custom_policy").paginate(**asked))
    assert [len(page["EvaluationResults"]) for page in pages] == [33, 27]


def test_conditions_are_asked_for_and_answered(iam):
    statement = {
        "Effect": "Allow",
        "Action": "ec2:RunInstances",
        "Resource": "*",
        "Condition": {"StringEquals": {"ec2:InstanceType": "t3.micro", "aws:RequestTag/team": "${aws:username}"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    asked = {"PolicyInputList": [policy], "ActionNames": ["ec2:RunInstances"]}
    [result] = iam.simulate_custom_policy(**asked)["EvaluationResults"]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["MissingContextValues"] == ["aws:RequestTag/team", "aws:username", "ec2:InstanceType"]
    assert iam.get_context_keys_for_custom_policy(PolicyInputList=[policy])["ContextKeyNames"] == [
        "aws:RequestTag/team",
        "aws:username",
        "ec2:InstanceType",
    ]
    entries = [
        {"ContextKeyName": name, "ContextKeyType": "string", "ContextKeyValues": [value]}
        for name, value in (("ec2:InstanceType", "t3.micro"), ("aws:RequestTag/team", "ada"), ("aws:username", "ada"))
    ]
    [result] = iam.simulate_custom_policy(**asked, ContextEntries=entries)["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])
    assert result["ResourceSpecificResults"] == []  # of all resources


def test_a_users_own_policies_its_groups_and_its_boundary_decide(owner, iam):
    boundary = iam.create_policy(PolicyName="fence", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]
    user = iam.create_user(UserName="sim", Path="/a/", PermissionsBoundary=boundary)["User"]
    iam.create_group(GroupName="sims")
    iam.add_user_to_group(GroupName="sims", UserName="sim")
    iam.put_group_policy(GroupName="sims", PolicyName="start", PolicyDocument=document("ec2:StartInstances"))
    iam.put_user_policy(UserName="sim", PolicyName="put", PolicyDocument=document("s3:PutObject"))
    iam.attach_user_policy(UserName="sim", PolicyArn=READ_ONLY)
    asked = {
        "PolicySourceArn": user["Arn"],
        "ActionNames": ["ec2:StartInstances", "ec2:DescribeInstances", "s3:PutObject", "ec2:StopInstances"],
    }
    answer = iam.simulate_principal_policy(**asked)
    assert [result["EvalDecision"] for result in answer["EvaluationResults"]] == [
        "allowed",
        "allowed",
        "implicitDeny",
        "implicitDeny",
    ]
    names = [
        {(matched["SourcePolicyId"], matched["SourcePolicyType"]) for matched in result["MatchedStatements"]}
        for result in answer["EvaluationResults"]
    ]
    assert ("group_sims_start", "group") in names[0]
    assert ("ReadOnlyAccess", "aws-managed") in names[1]
    within = [
        result["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"]
        for result in answer["EvaluationResults"]
    ]
    assert within == [True, True, False, True]
    more = iam.simulate_principal_policy(**asked, PolicyInputList=[document("ec2:Stop*")])
    assert more["EvaluationResults"][3]["EvalDecision"] == "allowed"
    group = iam.simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{owner.account_id}:group/sims", ActionNames=["ec2:StartInstances"]
    )
    assert group["EvaluationResults"][0]["EvalDecision"] == "allowed"


def test_a_resources_policy_takes_part(owner, iam):
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust())["Role"]["Arn"]
    bucket_policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Deny",
                "Principal": {"AWS": role},
                "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::secret/*",
            },
        }
    )
    iam.put_role_policy(RoleName="reader", PolicyName="all", PolicyDocument=document("s3:*"))
    asked = {"PolicySourceArn": role, "ActionNames": ["s3:GetObject"]}
    objects = ["arn:aws:s3:::secret/x", "arn:aws:s3:::open/x"]
    answer = iam.simulate_principal_policy(**asked, ResourceArns=objects, ResourcePolicy=bucket_policy)
    assert [result["EvalDecision"] for result in answer["EvaluationResults"]] == ["explicitDeny", "allowed"]
    assert answer["EvaluationResults"][0]["MatchedStatements"][0]["SourcePolicyType"] == "resource"


def test_what_cannot_be_simulated_is_refused(cloud, iam):
    refused("InvalidInput", iam.simulate_custom_policy, PolicyInputList=["{}"], ActionNames=["ec2:A"])
    good = document("ec2:*")
    refused("InvalidInput", iam.simulate_custom_policy, PolicyInputList=[good], ActionNames=["launch"])
    other = cloud.new_account().client("iam").create_user(UserName="sim")["User"]["Arn"]
    refused("InvalidInput", iam.simulate_principal_policy, PolicySourceArn=other, ActionNames=["ec2:A"])
    absent = other.replace(other.split(":")[4], iam.get_user()["User"]["UserId"]).replace("/sim", "/absent")
    refused("NoSuchEntity", iam.simulate_principal_policy, PolicySourceArn=absent, ActionNames=["ec2:A"])
