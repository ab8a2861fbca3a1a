"""What CloudTrail shows of parameters and results, and that no secret is among it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws.audit.elements import request_parameters, response_elements

CANARY = "canary-0123456789"


def test_lists_of_ec2_are_sets_with_items():
    asked = {
        "VolumeIds": ["vol-1"],
        "Filters": [{"Name": "size", "Values": ["1", "2"]}],
        "DryRun": False,
        "MaxResults": 5,
    }
    assert request_parameters("ec2", "DescribeVolumes", asked) == {
        "volumeSet": {"items": [{"volumeId": "vol-1"}]},
        "filterSet": {"items": [{"name": "size", "valueSet": {"items": [{"value": "1"}, {"value": "2"}]}}]},
        "dryRun": False,
        "maxResults": 5,
    }
    assert request_parameters("ec2", "TerminateInstances", {"InstanceIds": ["i-1"]}) == {
        "instancesSet": {"items": [{"instanceId": "i-1"}]}
    }
    assert request_parameters("ec2", "DescribeVolumes", {}) is None


def test_answers_of_ec2_have_the_names_of_its_xml():
    when = datetime(2026, 1, 2, tzinfo=UTC)
    answer = {"Instances": [{"InstanceId": "i-1", "LaunchTime": when, "Tags": [], "KeyName": None}], "OwnerId": "1"}
    assert response_elements("ec2", "RunInstances", answer) == {
        "instancesSet": {"items": [{"instanceId": "i-1", "launchTime": 1767312000000, "tagSet": {}}]},
        "ownerId": "1",
    }


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("ec2", "RunInstances", {"UserData": CANARY}),
        ("ec2", "ModifyInstanceAttribute", {"UserData": {"Value": CANARY.encode()}}),
        ("ec2", "ImportSnapshot", {"DiskContainer": {"Url": CANARY}}),
        ("ec2", "ModifyVpnTunnelOptions", {"TunnelOptions": {"PreSharedKey": CANARY}}),
        ("iam", "CreateLoginProfile", {"UserName": "u", "Password": CANARY}),
        ("iam", "ChangePassword", {"OldPassword": CANARY, "NewPassword": CANARY}),
        ("iam", "UploadServerCertificate", {"PrivateKey": CANARY}),
        ("sts", "AssumeRoleWithWebIdentity", {"WebIdentityToken": CANARY}),
        ("sts", "AssumeRole", {"TokenCode": CANARY}),
        ("ebs", "PutSnapshotBlock", {"BlockData": CANARY.encode()}),
        ("sns", "Publish", {"Message": CANARY, "Subject": CANARY, "MessageAttributes": {"a": {"StringValue": CANARY}}}),
        ("sns", "Subscribe", {"Endpoint": f"https://hook.example/{CANARY}"}),
        ("sns", "ConfirmSubscription", {"Token": CANARY}),
    ],
)
def test_secrets_that_are_asked_are_masked(service, operation, params):
    shown = request_parameters(service, operation, params)
    assert shown
    assert CANARY not in str(shown)


@pytest.mark.parametrize(
    ("service", "operation", "result"),
    [
        ("ec2", "CreateKeyPair", {"KeyMaterial": CANARY}),
        ("ec2", "GetPasswordData", {"PasswordData": CANARY}),
        ("iam", "CreateAccessKey", {"AccessKey": {"SecretAccessKey": CANARY, "AccessKeyId": "AKIA"}}),
        ("sts", "AssumeRole", {"Credentials": {"SecretAccessKey": CANARY, "SessionToken": CANARY}}),
        ("ec2", "DescribeInstanceAttribute", {"UserData": {"Value": CANARY}}),
    ],
)
def test_secrets_that_are_answered_are_masked(service, operation, result):
    shown = response_elements(service, operation, result)
    assert shown
    assert CANARY not in str(shown)


def test_a_public_key_is_no_secret():
    shown = request_parameters("ec2", "ImportKeyPair", {"KeyName": "k", "PublicKeyMaterial": b"ssh-rsa A"})
    assert shown == {"keyName": "k", "publicKeyMaterial": "c3NoLXJzYSBB"}


@given(st.dictionaries(st.sampled_from(["VolumeId", "Size", "Nonsense"]), st.one_of(st.none(), st.text())))
def test_what_the_model_does_not_know_is_left_out(params):
    shown = request_parameters("ec2", "CreateVolume", params) or {}
    assert set(shown) <= {"size"}
