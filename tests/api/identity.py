"""What tests of IAM share: policies, and how a refusal is awaited."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.clients import Account

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
EC2_ONLY = "arn:aws:iam::aws:policy/AmazonEC2FullAccess"


def document(*actions: str, effect: str = "Allow", resource: str = "*") -> str:
    """A policy of one statement."""
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(principal: Any = None) -> str:
    """A trust policy; instances may assume unless somebody else is named."""
    statement = {
        "Effect": "Allow",
        "Principal": principal or {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(code: str, function: Callable[..., Any], **params: Any) -> str:
    """Check that a call is refused with this code; give the message."""
    with pytest.raises(ClientError) as refusal:
        function(**params)
    error = refusal.value.response["Error"]
    assert error["Code"] == code, error
    return str(error["Message"])


def who_may(api: Any, iam: Any, name: str, *actions: str) -> Callable[[str], Any]:
    """Make a user who may do this everywhere; gives its clients by service."""
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=document(*actions))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return lambda service: api.long_term(key["AccessKeyId"], key["SecretAccessKey"], service)


def key_of(account: Account, user_name: str) -> Account:
    """The account as a user sees it, with a new access key."""
    key = account.client("iam").create_access_key(UserName=user_name)["AccessKey"]
    return replace(account, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
