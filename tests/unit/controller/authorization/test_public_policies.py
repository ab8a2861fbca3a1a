"""Which policies let everybody in: the cases of S3's documentation, and what would only look narrow."""

import json

import pytest

from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.public_policies import is_public

EVERYBODY = ("*", {"AWS": "*"}, {"AWS": ["111111111111", "*"]})
NAMED = (
    {"AWS": "111111111111"},
    {"AWS": "arn:aws:iam::111111111111:root"},
    {"AWS": ["arn:aws:iam::111111111111:user/ana", "AROA11111111111111111"]},
    {"Service": "ec2.amazonaws.com"},
)


def verdict(principal, effect="Allow", **condition):
    statement = {"Effect": effect, "Principal": principal, "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}
    if condition:
        statement["Condition"] = condition
    return is_public(parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]}), "resource"))


@pytest.mark.parametrize("principal", EVERYBODY)
def test_everybody_is_public_unless_it_is_denied(principal):
    assert verdict(principal)
    assert not verdict(principal, "Deny")


@pytest.mark.parametrize("principal", NAMED)
def test_who_is_named_is_not_everybody(principal):
    assert not verdict(principal)


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:SourceVpc": "vpc-91237329"}},
        {"StringLike": {"aws:SourceVpce": ["vpce-1", "vpce-2"]}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:sns:us-east-1:111111111111:topic"}},
        {"StringEquals": {"AWS:PrincipalOrgID": "o-1"}},
        {"StringEquals": {"aws:PrincipalAccount": "111111111111"}, "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*"}},
        {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32"]}},
        {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        {"IpAddress": {"aws:SourceIp": "nowhere"}},
        {"ForAnyValue:StringEquals": {"aws:SourceAccount": "111111111111"}},
    ],
)
def test_fixed_values_of_who_and_where_are_not_public(condition):
    assert not verdict("*", **condition)


@pytest.mark.parametrize(
    "condition",
    [
        {"StringLike": {"aws:SourceVpc": "vpc-*"}},
        {"StringEquals": {"aws:SourceVpc": ["vpc-1", "${aws:SourceVpc}"]}},
        {"StringLike": {"aws:userid": "AROA11111111111111111:*"}},
        {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}},
        {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}},
        {"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}},
        {"Null": {"aws:SourceVpc": "false"}},
        {"StringEquals": {"aws:Referer": "https://example.com"}},
        {"Bool": {"aws:SecureTransport": "true"}},
        {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}},
        {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "128.0.0.0/1"]}},
        {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"IpAddress": {"aws:SourceIp": "::/0"}},
    ],
)
def test_what_only_looks_narrow_is_public(condition):
    assert verdict("*", **condition)


def test_one_public_statement_is_enough():
    statements = [
        {"Effect": "Allow", "Principal": principal, "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}
        for principal in ({"AWS": "111111111111"}, "*")
    ]
    assert is_public(parse(json.dumps({"Version": "2012-10-17", "Statement": statements}), "resource"))
