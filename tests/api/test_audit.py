"""Every call leaves CloudTrail's record: in files, and for LookupEvents, without what is secret."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.support.waiting import wait_for


@pytest.fixture
def trail(account):
    return account.client("cloudtrail")


def found(trail, **asked):
    return [json.loads(event["CloudTrailEvent"]) for event in trail.lookup_events(**asked)["Events"]]


def by(key, value):
    return {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}


def test_calls_are_found_by_what_they_did(cloud, account, trail):
    secret = "a canary that nobody may read"
    vpc_id = account.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    key = account.ec2.create_key_pair(KeyName="audited")
    with pytest.raises(ClientError, match="InvalidAMIID"):
        account.ec2.run_instances(ImageId="ami-00000000000000000", MinCount=1, MaxCount=1, UserData=secret)
    account.ec2.describe_vpcs(VpcIds=[vpc_id])
    with pytest.raises(ClientError, match="DryRunOperation"):
        account.ec2.delete_vpc(VpcId=vpc_id, DryRun=True)
    wait_for(lambda: len(found(trail)) >= 5, "all five calls are in the trail", 10)
    made, described, tried = found(trail, **by("ResourceName", vpc_id))[::-1]
    assert (made["eventName"], described["eventName"], tried["eventName"]) == (
        "CreateVpc",
        "DescribeVpcs",
        "DeleteVpc",
    )
    assert made["userIdentity"] == {
        "type": "Root",
        "principalId": account.account_id,
        "arn": f"arn:aws:iam::{account.account_id}:root",
        "accountId": account.account_id,
        "accessKeyId": account.access_key_id,
    }
    assert made["responseElements"]["vpc"]["vpcId"] == vpc_id
    assert (made["eventSource"], made["readOnly"], made["sourceIPAddress"]) == ("ec2.amazonaws.com", False, "127.0.0.1")
    assert described["requestParameters"] == {"vpcSet": {"items": [{"vpcId": vpc_id}]}}
    assert (described["responseElements"], described["readOnly"]) == (None, True)
    assert tried["errorCode"] == "Client.DryRunOperation"
    [refused] = found(trail, **by("EventName", "RunInstances"))
    assert refused["errorCode"] == "Client.InvalidAMIID.NotFound"
    assert refused["requestParameters"]["userData"] == "<sensitiveDataRemoved>"
    [pair] = found(trail, **by("EventName", "CreateKeyPair"))
    assert pair["responseElements"]["keyMaterial"] == "<sensitiveDataRemoved>"
    lines = "".join(path.read_text() for path in (cloud.settings.controller_dir / "audit").iterdir())
    assert made["eventID"] in lines
    assert secret not in lines
    assert key["KeyMaterial"].splitlines()[1] not in lines
    account.ec2.delete_vpc(VpcId=vpc_id)


def test_pages_times_and_tenants(account, trail, cloud):
    for _ in range(3):
        account.client("sts").get_caller_identity()
    wait_for(lambda: len(found(trail, **by("EventSource", "sts.amazonaws.com"))) == 3, "three calls are there", 10)
    pages = list(
        trail.get_paginator("lookup_events").paginate(
            **by("Username", "root"), PaginationConfig={"PageSize": 1, "MaxItems": 3}
        )
    )
    assert [len(page["Events"]) for page in pages] == [1, 1, 1]
    assert len({page["Events"][0]["EventId"] for page in pages}) == 3
    times = [page["Events"][0]["EventTime"] for page in pages]
    assert times == sorted(times, reverse=True)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    assert found(trail, EndTime=long_ago) == []
    assert len(found(trail, **by("EventName", "GetCallerIdentity"), StartTime=long_ago)) == 3
    assert found(trail, **by("ReadOnly", "false")) == []
    assert len(found(trail, **by("AccessKeyId", account.access_key_id), MaxResults=2)) == 2
    one = trail.lookup_events(**by("EventName", "GetCallerIdentity"))["Events"][0]
    assert [event["eventID"] for event in found(trail, **by("EventId", one["EventId"]))] == [one["EventId"]]
    other = cloud.new_account().client("cloudtrail")
    assert found(other, **by("EventId", one["EventId"])) == []


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({**by("ReadOnly", "perhaps")}, "InvalidLookupAttributesException"),
        ({**by("AccountId", "1")}, "InvalidLookupAttributesException"),
        ({"EventCategory": "management"}, "InvalidEventCategoryException"),
        ({"LookupAttributes": by("EventId", "a")["LookupAttributes"] * 2}, "InvalidLookupAttributesException"),
        ({"StartTime": datetime(2026, 2, 1, tzinfo=UTC), "EndTime": datetime(2026, 1, 1, tzinfo=UTC)}, "InvalidTimeR"),
        ({"MaxResults": 51}, "ValidationException"),
        ({"NextToken": "of somebody else"}, "InvalidNextTokenException"),
    ],
)
def test_nonsense_is_refused(trail, asked, code):
    with pytest.raises(ClientError, match=code):
        trail.lookup_events(**asked)


def test_who_is_not_let_in_is_in_the_files(cloud, account):
    stranger = account.__class__(account.account_id, "AKIANOBODYATALL00000", "wrong", account.endpoint)
    with pytest.raises(ClientError, match="AuthFailure"):
        stranger.ec2.describe_vpcs()

    def recorded():
        folder = cloud.settings.controller_dir / "audit"
        lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
        return [line for line in lines if line["userIdentity"].get("accessKeyId") == stranger.access_key_id]

    wait_for(recorded, "the stranger's call is in a file", 10)
    [line] = recorded()
    assert (line["userIdentity"]["type"], line["eventName"]) == ("Unknown", "DescribeVpcs")
    assert line["errorCode"] == "Client.AuthFailure"


def test_who_assumes_a_role_is_in_its_owners_records_too(cloud, account):
    owner = cloud.new_account()
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": account.account_id}}
    role = owner.client("iam").create_role(
        RoleName="shared", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    iam = account.client("iam")
    iam.create_user(UserName="guest")
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}]}
    iam.put_user_policy(UserName="guest", PolicyName="may", PolicyDocument=json.dumps(may))
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    guest = account.__class__(account.account_id, key["AccessKeyId"], key["SecretAccessKey"], account.endpoint)
    guest.client("sts").assume_role(RoleArn=role, RoleSessionName="night")
    asked, theirs = by("EventName", "AssumeRole"), owner.client("cloudtrail")
    wait_for(lambda: found(theirs, **asked), "the owner sees the call", 10)
    [seen] = found(theirs, **asked)
    [own] = found(account.client("cloudtrail"), **asked)
    assert seen["userIdentity"] == {
        "type": "AWSAccount",
        "principalId": own["userIdentity"]["principalId"],
        "accountId": account.account_id,
    }
    assert (seen["sharedEventID"], seen["recipientAccountId"]) == (own["sharedEventID"], owner.account_id)
    assert own["recipientAccountId"] == account.account_id


def test_there_are_no_trails(trail):
    """What tools that look at an account's security ask for is answered, not unknown."""
    assert trail.describe_trails()["trailList"] == trail.list_trails()["Trails"] == []
    assert trail.list_event_data_stores()["EventDataStores"] == []
    for call, name in (
        (trail.get_trail, "Name"),
        (trail.get_trail_status, "Name"),
        (trail.get_event_selectors, "TrailName"),
        (trail.get_insight_selectors, "TrailName"),
    ):
        with pytest.raises(ClientError, match=r"TrailNotFoundException.*Unknown trail: mine"):
            call(**{name: "mine"})


@pytest.mark.parametrize("service", [("lambda", "list_functions"), ("route53", "list_hosted_zones")])
def test_of_services_that_only_a_model_would_read_the_trail_has_the_service(account, trail, service):
    """The path and method of REST say the operation, to who has the service's model."""
    name, operation = service
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        getattr(account.client(name), operation)()
    source = by("EventSource", f"{name}.amazonaws.com")
    wait_for(lambda: found(trail, **source), "the call is in the trail", 10)
    [asked] = found(trail, **source)
    assert (asked["eventName"], asked["errorCode"]) == ("Unknown", "UnsupportedOperation")
    assert asked["userIdentity"]["accessKeyId"] == account.access_key_id


def test_calls_to_services_that_are_not_there_are_in_the_trail_by_name(account, trail):
    for service, operation in (("logs", "describe_log_groups"), ("dynamodb", "list_tables")):
        with pytest.raises(ClientError, match="UnsupportedOperation"):
            getattr(account.client(service), operation)()
    wait_for(lambda: found(trail, **by("EventName", "ListTables")), "the last call is in the trail", 10)
    [asked] = found(trail, **by("EventName", "DescribeLogGroups"))
    assert (asked["eventSource"], asked["errorCode"]) == ("logs.amazonaws.com", "UnsupportedOperation")
    assert asked["userIdentity"]["accessKeyId"] == account.access_key_id
