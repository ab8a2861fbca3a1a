"""Records of calls: who, what, and what came of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import pytest

from stead_controller.aws.audit.recall import recall
from stead_controller.aws.audit.record import draw
from stead_controller.aws.audit.touched import touched
from stead_controller.aws.call_record import CallRecord
from stead_controller.request.caller import Caller, Origin, Session

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/builder"
CALL = CallRecord(
    request_id="r-1",
    event_id="e-1",
    time=NOW,
    service="ec2",
    operation="DescribeVolumes",
    caller=Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "AKIA1"),
    access_key_id="AKIA1",
    source_ip="192.0.2.1",
    user_agent="test/1",
    status=200,
    error_code=None,
    error_message=None,
    seconds=0.1,
    weight=1,
    params={},
    result=None,
)


def drawn(**changes):
    event = draw(replace(CALL, **changes), "eu-1")
    return event, json.loads(event.text)


def test_a_role_session_names_its_role():
    origin = Origin("arn:aws:ec2:eu-1:123456789012:instance/i-1", "vpc-1", "10.0.0.1", "2.0")
    session = Session("night", NOW, NOW + timedelta(hours=1), mfa=True, source_identity="ann", origin=origin)
    caller = Caller(
        ACCOUNT,
        f"arn:aws:sts::{ACCOUNT}:assumed-role/builder/night",
        "AROA1:night",
        "ASIA1",
        kind="role",
        session=session,
        principal_id="AROA1",
        principal_arn=ROLE,
    )
    event, record = drawn(caller=caller)
    assert record["userIdentity"] == {
        "type": "AssumedRole",
        "principalId": "AROA1:night",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/builder/night",
        "accountId": ACCOUNT,
        "accessKeyId": "ASIA1",
        "sessionContext": {
            "attributes": {"creationDate": "2026-03-04T05:06:07Z", "mfaAuthenticated": "true"},
            "sessionIssuer": {
                "type": "Role",
                "principalId": "AROA1",
                "arn": ROLE,
                "accountId": ACCOUNT,
                "userName": "builder",
            },
            "sourceIdentity": "ann",
            "ec2RoleDelivery": "2.0",
        },
    }
    assert event.user_name == "night"


def test_a_user_has_a_name():
    caller = Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ann", "AIDA1", "AKIA2", kind="user", user_name="ann")
    event, record = drawn(caller=caller)
    assert (record["userIdentity"]["type"], record["userIdentity"]["userName"]) == ("IAMUser", "ann")
    assert event.user_name == "ann"


@pytest.mark.parametrize(
    ("service", "status", "code", "shown"),
    [
        ("ec2", 400, "InvalidID", "Client.InvalidID"),
        ("ec2", 503, "RequestLimitExceeded", "Server.RequestLimitExceeded"),
        ("iam", 404, "NoSuchEntity", "NoSuchEntity"),
    ],
)
def test_errors_are_named_as_each_service_names_them(service, status, code, shown):
    _, record = drawn(service=service, operation="GetUser", status=status, error_code=code, error_message="Why.")
    assert (record["errorCode"], record["errorMessage"]) == (shown, "Why.")


def test_answers_are_shown_of_writes_and_of_credentials_only():
    answer = {"Volumes": [{"VolumeId": "vol-1"}]}
    assert drawn(result=answer)[1]["responseElements"] is None
    assert drawn(operation="CreateVolume", result={"VolumeId": "v"})[1]["responseElements"] == {"volumeId": "v"}
    given = {"Credentials": {"AccessKeyId": "ASIA9", "SecretAccessKey": "s", "SessionToken": "t"}}
    event, record = drawn(service="sts", operation="AssumeRole", params={"RoleArn": ROLE}, result=given)
    assert record["responseElements"]["credentials"]["accessKeyId"] == "ASIA9"
    assert (record["readOnly"], ("AWS::IAM::Role", ROLE) in event.resources) == (True, True)


def test_reading_snapshot_blocks_is_a_data_event():
    event, record = drawn(service="ebs", operation="PutSnapshotBlock", params={"SnapshotId": "snap-1"})
    assert (record["eventCategory"], record["managementEvent"], event.account_id) == ("Data", False, "")


def test_objects_are_data_and_buckets_are_managed():
    asked = {"Bucket": "b", "Key": "k"}
    event, record = drawn(service="s3", operation="PutObject", params=asked)
    assert (record["eventSource"], record["requestParameters"]) == ("s3.amazonaws.com", {"bucketName": "b", "key": "k"})
    assert (record["eventCategory"], event.account_id) == ("Data", "")
    event, record = drawn(service="s3", operation="CreateBucket", params={"Bucket": "b"})
    assert (record["eventCategory"], event.account_id) == ("Management", ACCOUNT)
    assert event.resources == (("AWS::S3::Bucket", "b"),)
    assert drawn(service="s3", operation=None, caller=None)[1]["eventName"] == "Unknown"


@pytest.mark.parametrize(
    ("operation", "name", "category"),
    [
        ("PutPublicAccessBlock", "PutBucketPublicAccessBlock", "Management"),
        ("PutBucketLifecycleConfiguration", "PutBucketLifecycle", "Management"),
        ("ListObjectsV2", "ListObjects", "Data"),
        ("ListParts", "ListParts", "Data"),
    ],
)
def test_events_of_s3_have_cloudtrails_names(operation, name, category):
    _, record = drawn(service="s3", operation=operation, params={"Bucket": "b"})
    assert (record["eventName"], record["eventCategory"]) == (name, category)


def test_a_call_to_s3_is_recorded_whole():
    policy = {"Statement": [{"Resource": "vol-0123456789abcdef0", "Key": "not a key", "bucketName": "nor a bucket"}]}
    event, record = drawn(
        service="s3",
        operation="PutBucketPolicy",
        params={"Bucket": "b", "policy": "", "bucketPolicy": policy},
        result={"x-amz-version-id": "1"},
        additional={"SignatureVersion": "SigV4"},
    )
    assert record["requestParameters"] == {"bucketName": "b", "policy": "", "bucketPolicy": policy}
    assert record["responseElements"] == {"x-amz-version-id": "1"}
    assert record["additionalEventData"] == {"SignatureVersion": "SigV4"}
    assert event.resources == (("AWS::S3::Bucket", "b"),)
    assert recall(event.text) == event


def test_an_unsigned_request_has_no_identity():
    event, record = drawn(service="s3", operation="GetObject", caller=None, access_key_id="", params={"Bucket": "b"})
    assert record["userIdentity"] == {"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"}
    assert event.account_id == ""
    assert recall(event.text) == event


def test_what_belongs_to_another_account_is_in_its_records_too():
    call = replace(CALL, service="sts", operation="AssumeRole", params={"RoleArn": ROLE}, owner_id="210987654321")
    owners = call.of_owner()
    event, theirs = draw(owners, "eu-1"), json.loads(draw(owners, "eu-1").text)
    mine = json.loads(draw(call, "eu-1").text)
    assert theirs["userIdentity"] == {"type": "AWSAccount", "principalId": ACCOUNT, "accountId": ACCOUNT}
    assert (event.account_id, theirs["recipientAccountId"], mine["recipientAccountId"]) == (
        "210987654321",
        "210987654321",
        ACCOUNT,
    )
    assert theirs["sharedEventID"] == mine["sharedEventID"]
    assert theirs["eventID"] != mine["eventID"]
    assert recall(event.text) == event
    for alone in ({"owner_id": ACCOUNT}, {"error_code": "AccessDenied"}, {"caller": None}, {"owner_id": ""}):
        assert replace(call, **alone).of_owner() is None
        assert "sharedEventID" not in json.loads(draw(replace(call, **alone), "eu-1").text)


def test_a_bucket_is_named_with_the_account_that_pays():
    _, record = drawn(service="s3", operation="PutObject", params={"Bucket": "b", "Key": "k"}, owner_id="210987654321")
    bucket = {"accountId": "210987654321", "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b"}
    assert record["resources"] == [bucket]
    for of_none in ({"owner_id": ""}, {"params": {}}, {"service": "sts"}):
        asked = {"service": "s3", "operation": "ListBuckets", "params": {"Bucket": "b"}, "owner_id": ACCOUNT} | of_none
        assert drawn(**asked)[1]["resources"] == []


def test_what_a_client_says_of_itself_is_cut():
    _, record = drawn(user_agent="x" * 5000, error_code="a", error_message="y" * 5000)
    assert (len(record["userAgent"]), len(record["errorMessage"])) == (1024, 1024)


def test_a_record_has_a_largest_size():
    event, record = drawn(operation="CreateTags", params={"Resources": ["x" * 60] * 9000})
    assert len(event.text) < 300_000
    assert record["requestParameters"]["omitted"] is True


def test_an_unknown_operation_is_recorded():
    event, record = drawn(operation=None, caller=None, access_key_id="AKIAX", error_code="InvalidAction", status=400)
    assert (event.name, record["requestParameters"]) == ("Unknown", None)
    assert record["userIdentity"] == {"type": "Unknown", "accessKeyId": "AKIAX"}


def test_resources_are_found_wherever_they_stand():
    volume, vpc = "vol-0123456789abcdef0", "vpc-0123456789abcdef0"
    document = {"A": [{"B": {"C": volume}}], "D": vpc, "E": "vol-nonsense", "F": b"vol-0123456789abcdef1"}
    assert touched("ec2", document, {"Z": volume}) == [("AWS::EC2::Volume", volume), ("AWS::EC2::VPC", vpc)]
    many = {"Ids": [f"i-{number:017x}" for number in range(2000)]}
    assert len(touched("ec2", many)) == 1000
    assert touched("iam", {"UserName": "ann", "PolicyArn": "arn:p"}) == [
        ("AWS::IAM::User", "ann"),
        ("AWS::IAM::Policy", "arn:p"),
    ]
    users = [{"UserName": f"u{number}"} for number in range(1001)]
    assert touched("iam", {"Users": users})[-1] == ("AWS::IAM::User", "u999")
    assert touched("iam", {"Users": users[:999], "UserName": "one", "PolicyArn": "more"})[-1][1] == "one"


@pytest.mark.parametrize("wrap", [lambda value: {"A": value}, lambda value: [value], lambda value: (value,)])
def test_they_are_looked_for_eight_levels_deep(wrap):
    value = VOLUME
    for _ in range(7):
        value = wrap(value)
    assert touched("ec2", {"B": value}) == [("AWS::EC2::Volume", VOLUME)]
    assert touched("ec2", {"B": wrap(value)}) == []


def test_they_are_looked_for_in_any_mapping_and_below_any_name():
    for value in (MappingProxyType({"A": VOLUME}), {"UserName": [VOLUME]}):
        assert touched("iam", {"B": value, "C": NOW, "D": None, "E": Decimal(1)}) == [("AWS::EC2::Volume", VOLUME)]
    assert touched("ec2", None, {"B": f"{VOLUME}{'0' * 20}"}) == []


VOLUME = "vol-0123456789abcdef0"
SESSION = Session("night", NOW, NOW + timedelta(hours=1))
BUILDER = Caller(ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/builder/night", "AROA1:night", "AKIA1", "role", SESSION)
ANN = Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ann", "AIDA1", "AKIA1", kind="user", user_name="ann")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"params": {"VolumeIds": [VOLUME]}, "result": {"Volumes": [{"VolumeId": "vol-0123456789abcdef1"}]}},
        {"operation": "CreateVolume", "params": {"Size": 1}, "result": {"VolumeId": VOLUME}, "caller": ANN},
        {"operation": "DeleteVolume", "params": {"VolumeId": VOLUME}, "result": {}, "caller": BUILDER},
        {"operation": "ImportKeyPair", "params": {"KeyName": "k", "PublicKeyMaterial": b"x"}},
        {"service": "iam", "operation": "CreateUser", "params": {"UserName": "bob"}, "result": {"User": {}}},
        {"service": "iam", "operation": "GetUser", "status": 404, "error_code": "NoSuchEntity", "error_message": "No."},
        {"service": "s3", "operation": "CreateBucket", "params": {"Bucket": "b"}},
    ],
)
def test_a_line_of_the_files_is_the_event_again(changes):
    event = draw(replace(CALL, **changes), "eu-1")
    assert recall(event.text) == event


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "7", "no json", '{"managementEvent": true, "recipientAccountId": "1"}']
)
def test_what_is_no_record_is_none(line):
    assert recall(line) is None


def test_what_no_account_may_look_up_stays_so():
    for changes in (
        {"caller": None},
        {"service": "s3", "operation": "GetObject", "params": {"Bucket": "b", "Key": "k"}},
    ):
        event = recall(draw(replace(CALL, **changes), "eu-1").text)
        assert event is not None
        assert event.account_id == ""


def test_codes_of_second_factors_are_masked():
    params = {"UserName": "u", "SerialNumber": "arn", "AuthenticationCode1": "123456", "AuthenticationCode2": "654321"}
    _, record = drawn(service="iam", operation="EnableMFADevice", params=params, result={})
    hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"
    assert record["requestParameters"] == {
        "userName": "u",
        "serialNumber": "arn",
        "authenticationCode1": hidden,
        "authenticationCode2": hidden,
    }
