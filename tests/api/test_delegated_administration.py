"""An administrator of others, who gives no more than a boundary lets through.

As https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html has it, "Delegating responsibility to
others using permissions boundaries".
"""

import json

import pytest

from tests.api.identity import READ_ONLY, document, refused, trust, who_may


@pytest.fixture
def iam(api):
    return api.client(api.world.one, "iam")


@pytest.fixture
def fence(iam):
    """The boundary that all whom the delegate makes must have."""
    return iam.create_policy(PolicyName="Fence", PolicyDocument=document("ec2:*"))["Policy"]["Arn"]


@pytest.fixture
def delegate(api, iam, fence):
    """IAM as the delegate sees it."""
    client = who_may(api, iam, "delegate", "iam:Get*")("iam")
    fenced = {"StringEquals": {"iam:PermissionsBoundary": fence}}
    attached = {**fenced, "ArnEquals": {"iam:PolicyARN": READ_ONLY}}
    making = ["CreateUser", "CreateRole", "PutUserPolicy", "PutRolePolicy", "PutUserPermissionsBoundary"]
    statements = [
        {"Effect": "Allow", "Action": [f"iam:{name}" for name in making], "Resource": "*", "Condition": fenced},
        {"Effect": "Allow", "Action": ["iam:AttachUserPolicy"], "Resource": "*", "Condition": attached},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="delegate", PolicyName="delegate", PolicyDocument=policy)
    return client


def test_who_is_made_must_have_the_boundary(delegate, fence):
    refused("AccessDenied", delegate.create_user, UserName="ada")
    refused("AccessDenied", delegate.create_user, UserName="ada", PermissionsBoundary=READ_ONLY)
    made = delegate.create_user(UserName="ada", PermissionsBoundary=fence)["User"]
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == fence
    role = {"RoleName": "r", "AssumeRolePolicyDocument": trust()}
    refused("AccessDenied", delegate.create_role, **role)
    delegate.create_role(**role, PermissionsBoundary=fence)
    delegate.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=document("*"))


def test_others_are_left_alone(iam, delegate, fence):
    iam.create_user(UserName="free")
    params = {"PolicyName": "p", "PolicyDocument": document("*")}
    refused("AccessDenied", delegate.put_user_policy, UserName="free", **params)
    refused("AccessDenied", delegate.put_user_policy, UserName="delegate", **params)
    refused("AccessDenied", delegate.put_user_permissions_boundary, UserName="free", PermissionsBoundary=READ_ONLY)
    delegate.put_user_permissions_boundary(UserName="free", PermissionsBoundary=fence)
    delegate.put_user_policy(UserName="free", **params)
    refused("AccessDenied", delegate.delete_user_permissions_boundary, UserName="free")


def test_only_policies_that_may_be_given_are_attached(iam, delegate, fence):
    delegate.create_user(UserName="ada", PermissionsBoundary=fence)
    iam.create_user(UserName="free")
    everything = "arn:aws:iam::aws:policy/AdministratorAccess"
    refused("AccessDenied", delegate.attach_user_policy, UserName="ada", PolicyArn=everything)
    refused("AccessDenied", delegate.attach_user_policy, UserName="free", PolicyArn=READ_ONLY)
    delegate.attach_user_policy(UserName="ada", PolicyArn=READ_ONLY)
