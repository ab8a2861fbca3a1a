"""What S3 has and Stead has not is read as none, taken where nothing is asked, and refused and recorded by name."""

import secrets

import pytest

from tests.host.object_store.test_objects import refused
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def bucket(store):
    """A bucket of the first account with an object."""
    name = f"absent-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="k", Body=b"content")
    return name


TARGET = {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": ""}}
EVENTS = {
    "QueueConfigurations": [{"QueueArn": "arn:aws:sqs:us-east-1:111111111111:q", "Events": ["s3:ObjectCreated:*"]}]
}
BRIDGE = {"EventBridgeConfiguration": {}}


def test_what_asks_for_nothing_is_taken(store, bucket):
    s3 = store.s3
    for _ in range(2):
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
        s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Disabled"})
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    assert s3.get_bucket_abac(Bucket=bucket)["AbacStatus"] == {"Status": "Disabled"}
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


@pytest.mark.parametrize(
    ("call", "more", "name"),
    [
        ("put_bucket_notification_configuration", {"NotificationConfiguration": EVENTS}, "QueueConfiguration"),
        ("put_bucket_notification_configuration", {"NotificationConfiguration": BRIDGE}, "EventBridgeConfiguration"),
        ("put_bucket_logging", {"BucketLoggingStatus": TARGET}, "LoggingEnabled"),
        ("put_bucket_abac", {"AbacStatus": {"Status": "Enabled"}}, "Status"),
        ("put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Requester"}}, "Payer"),
        (
            "put_bucket_accelerate_configuration",
            {"AccelerateConfiguration": {"Status": "Enabled"}},
            "PutBucketAccelerateConfiguration",
        ),
        (
            "put_bucket_website",
            {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}},
            "PutBucketWebsite",
        ),
        (
            "put_bucket_metrics_configuration",
            {"Id": "all", "MetricsConfiguration": {"Id": "all"}},
            "PutBucketMetricsConfiguration",
        ),
        ("rename_object", {"Key": "k", "RenameSource": "k"}, "RenameObject"),
        ("get_object_torrent", {"Key": "k"}, "GetObjectTorrent"),
    ],
)
def test_what_asks_for_more_is_refused_and_recorded_by_name(store, bucket, call, more, name):
    before = len(store.calls)
    with pytest.raises(store.s3.exceptions.ClientError) as refusal:
        getattr(store.s3, call)(Bucket=bucket, **more)
    error = refusal.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("NotImplemented", 501)
    assert name in error["Error"]["Message"]
    operation = store.s3.meta.method_to_api_mapping[call]
    wait_for(lambda: any(each.operation == operation for each in store.calls[before:]), f"a record of {operation}")


def test_who_may_not_is_refused_before_what_is_not_built(store, bucket):
    other = store.other.client("s3")
    website = {"IndexDocument": {"Suffix": "index.html"}}
    refused("AccessDenied", other.put_bucket_website, Bucket=bucket, WebsiteConfiguration=website)
    absent = f"{bucket}-absent"
    refused("NoSuchBucket", store.s3.put_bucket_website, Bucket=absent, WebsiteConfiguration=website)


def test_what_no_bucket_has_is_not_found(store, bucket):
    s3 = store.s3
    for code, call, more in (
        ("MetadataConfigurationNotFound", s3.get_bucket_metadata_configuration, {}),
        ("MetadataConfigurationNotFound", s3.get_bucket_metadata_table_configuration, {}),
        ("NoSuchConfiguration", s3.delete_bucket_metrics_configuration, {"Id": "all"}),
        ("NoSuchConfiguration", s3.delete_bucket_inventory_configuration, {"Id": "all"}),
    ):
        assert refused(code, call, Bucket=bucket, **more) == 404
    page = {"Bucket": bucket, "ContinuationToken": "more"}
    refused("InvalidArgument", s3.list_bucket_metrics_configurations, **page)
    elsewhere = s3.list_buckets(BucketRegion="eu-west-1")
    assert elsewhere["Buckets"] == []
    assert bucket in {each["Name"] for each in s3.list_buckets(BucketRegion="us-east-1")["Buckets"]}


def test_no_object_is_locked_or_archived(store, bucket):
    s3 = store.s3
    named = {"Bucket": bucket, "Key": "k"}
    for call, more in (
        (s3.get_object_retention, {}),
        (s3.get_object_legal_hold, {}),
        (s3.put_object_retention, {"Retention": {"Mode": "GOVERNANCE"}}),
        (s3.put_object_legal_hold, {"LegalHold": {"Status": "ON"}}),
        (s3.put_object, {"Body": b"", "ObjectLockMode": "COMPLIANCE"}),
    ):
        assert refused("InvalidRequest", call, **named, **more) == 400
    refused("InvalidArgument", s3.delete_object, **named, BypassGovernanceRetention=True)
    entries = {"Objects": [{"Key": "k"}]}
    refused("InvalidArgument", s3.delete_objects, Bucket=bucket, Delete=entries, BypassGovernanceRetention=True)
    refused("NotImplemented", s3.delete_objects, Bucket=bucket, Delete=entries, MFA="serial 123456")
    assert refused("InvalidObjectState", s3.restore_object, **named, RestoreRequest={"Days": 1}) == 403
    assert refused("NoSuchKey", s3.get_object_retention, Bucket=bucket, Key="none") == 404
    refused("InvalidStorageClass", s3.put_object, **named, Body=b"", StorageClass="GLACIER")
    assert s3.get_object(**named)["Body"].read() == b"content"


def test_a_bucket_without_versions_has_none_but_null(store, bucket):
    """The server behind takes any version for the object itself."""
    s3 = store.s3
    named = {"Bucket": bucket, "Key": "k", "VersionId": "0" * 32}
    source = f"{bucket}/k?versionId={named['VersionId']}"
    for call, more in (
        (s3.get_object, {}),
        (s3.get_object_tagging, {}),
        (s3.get_object_acl, {}),
        (s3.put_object_acl, {"ACL": "private"}),
        (s3.delete_object_tagging, {}),
        (s3.delete_object, {}),
    ):
        assert refused("InvalidArgument", call, **named, **more) == 400
    refused("InvalidArgument", s3.copy_object, Bucket=bucket, Key="copy", CopySource=source)
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": named["VersionId"]}]})
    assert [(each["Key"], each["Code"]) for each in gone["Errors"]] == [("k", "InvalidArgument")]
    assert "Deleted" not in gone
    assert s3.get_object(**{**named, "VersionId": "null"})["Body"].read() == b"content"


def test_an_acl_is_of_a_version(store):
    s3, bucket = store.s3, f"absent-v-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    there = s3.put_object(Bucket=bucket, Key="k", Body=b"")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k")
    refused("NoSuchKey", s3.get_object_acl, Bucket=bucket, Key="k")
    s3.get_object_acl(Bucket=bucket, Key="k", VersionId=there)
    s3.put_object_acl(Bucket=bucket, Key="k", VersionId=there, ACL="private")
    missing = {"Bucket": bucket, "Key": "k", "VersionId": "0" * 32}
    assert refused("NoSuchVersion", s3.get_object_acl, **missing) == 404
    assert refused("NoSuchVersion", s3.put_object_acl, **missing, ACL="private") == 404


def test_lifecycles_have_ids_and_a_second_put_changes_nothing(store, bucket):
    """As Ansible's s3_lifecycle does it: it reads the rules, changes its own, and puts all of them."""
    s3 = store.s3
    rule = {"Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    first = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert first[0].pop("ID")
    assert first == [rule]
    stored = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": stored})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == stored
    s3.delete_bucket_lifecycle(Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
