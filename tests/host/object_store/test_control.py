"""S3 Control at the same address: tags of buckets, and what policies of an account's buckets may not do."""

import secrets
import socket
from urllib.parse import urlsplit

import pytest

from tests.host.object_store.raw import Raw
from tests.host.object_store.test_bucket_settings import ALL_ON, may, policy
from tests.host.object_store.test_objects import refused


@pytest.fixture
def control(store, monkeypatch):
    """Makes S3 Control clients, whose host names ACCOUNT.127.0.0.1 are looked up as a wildcard name would be."""
    look_up = socket.getaddrinfo

    def found(host, *more, **options):
        return look_up("127.0.0.1" if host.endswith(".127.0.0.1") else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return lambda account: account.client("s3control")


@pytest.fixture
def bucket(store):
    """A bucket of the first account with an object."""
    name = f"control-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="k", Body=b"content")
    yield name
    store.s3.delete_object(Bucket=name, Key="k")
    store.s3.delete_bucket(Bucket=name)


def test_tags_of_a_bucket(store, control, bucket):
    mine = control(store.one)
    named = {"AccountId": store.one.account_id, "ResourceArn": f"arn:aws:s3:::{bucket}"}
    assert mine.list_tags_for_resource(**named)["Tags"] == []
    first = [{"Key": "a", "Value": "1 + 2"}, {"Key": "b", "Value": ""}]
    mine.tag_resource(**named, Tags=first)
    mine.tag_resource(**named, Tags=[{"Key": "b", "Value": "3"}])
    assert mine.list_tags_for_resource(**named)["Tags"] == [first[0], {"Key": "b", "Value": "3"}]
    assert len(store.s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == 2
    mine.untag_resource(**named, TagKeys=["a", "none"])
    assert mine.list_tags_for_resource(**named)["Tags"] == [{"Key": "b", "Value": "3"}]
    mine.untag_resource(**named, TagKeys=["b"])
    refused("NoSuchTagSet", store.s3.get_bucket_tagging, Bucket=bucket)
    refused("InvalidTag", mine.tag_resource, **named, Tags=[first[0], first[0]])
    refused("NoSuchBucket", mine.list_tags_for_resource, **{**named, "ResourceArn": f"arn:aws:s3:::{bucket}-2"})
    group = f"arn:aws:s3:us-east-1:{store.one.account_id}:storage-lens-group/g"
    assert refused("NotImplemented", mine.list_tags_for_resource, **{**named, "ResourceArn": group}) == 501


def test_only_who_may(store, control, bucket):
    named = {"AccountId": store.one.account_id, "ResourceArn": f"arn:aws:s3:::{bucket}"}
    theirs = control(store.other)
    refused("AccessDenied", theirs.list_tags_for_resource, **named)
    refused("AccessDenied", theirs.list_tags_for_resource, **{**named, "AccountId": store.other.account_id})
    refused("AccessDenied", theirs.get_public_access_block, AccountId=store.one.account_id)
    # Whatever a bucket's policy says, the account that is named has to be the bucket's.
    text = policy(bucket, {"AWS": store.other.account_id}, "s3:ListTagsForResource").replace(f"{bucket}/*", bucket)
    store.s3.put_bucket_policy(Bucket=bucket, Policy=text)
    refused("AccessDenied", theirs.list_tags_for_resource, **{**named, "AccountId": store.other.account_id})
    role = control(store.role_account)
    store.allow_role(may("s3:ListTagsForResource"))
    assert role.list_tags_for_resource(**named)["Tags"] == []
    refused("AccessDenied", role.tag_resource, **named, Tags=[{"Key": "a", "Value": "b"}])
    refused("AccessDenied", role.untag_resource, **named, TagKeys=["a"])
    refused("AccessDenied", role.get_public_access_block, AccountId=store.one.account_id)
    refused("AccessDenied", role.delete_public_access_block, AccountId=store.one.account_id)


def test_an_account_blocks_public_access_to_all_its_buckets(store, control, bucket):
    mine, of = control(store.one), {"AccountId": store.one.account_id}
    assert refused("NoSuchPublicAccessBlockConfiguration", mine.get_public_access_block, **of) == 404
    store.s3.delete_public_access_block(Bucket=bucket)
    store.s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, "*"))
    other = store.other.client("s3")
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    try:
        for _ in range(2):
            mine.put_public_access_block(**of, PublicAccessBlockConfiguration=ALL_ON)
        assert mine.get_public_access_block(**of)["PublicAccessBlockConfiguration"] == ALL_ON
        refused("AccessDenied", other.get_object, Bucket=bucket, Key="k")
        refused("AccessDenied", store.s3.put_bucket_policy, Bucket=bucket, Policy=policy(bucket, "*"))
        refused("NoSuchPublicAccessBlockConfiguration", store.s3.get_public_access_block, Bucket=bucket)
    finally:
        for _ in range(2):
            mine.delete_public_access_block(**of)
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"


def test_the_rest_is_refused_and_recorded_by_name(store, control):
    """Those that S3 has too, of a bucket, by the names that CloudTrail has for them."""
    mine, before = control(store.one), len(store.calls)
    refused("NoSuchPublicAccessBlockConfiguration", mine.get_public_access_block, AccountId=store.one.account_id)
    with pytest.raises(mine.exceptions.ClientError) as refusal:
        mine.list_access_points(AccountId=store.one.account_id)
    error = refusal.value.response["Error"]
    assert (error["Code"], "ListAccessPoints" in error["Message"]) == ("NotImplemented", True)
    assert [each.operation for each in store.calls[before:]] == ["GetAccountPublicAccessBlock", "ListAccessPoints"]


def test_an_address_without_names_answers_too(store):
    """Whatever the Host header is; an error is wrapped, as SDKs of S3 Control want it."""
    path = f"/v20180820/tags/arn%3Aaws%3As3%3A%3A%3Anone-{secrets.token_hex(4)}"
    status, body = Raw(store.one, "GET", path, x_amz_account_id=store.one.account_id).send()
    assert (status, b"<ErrorResponse><Error><Code>NoSuchBucket</Code>" in body) == (404, True)
    assert urlsplit(store.one.endpoint).hostname == "127.0.0.1"
    status, body = Raw(store.one, "PATCH", "/v20180820/other", x_amz_account_id=store.one.account_id).send()
    assert (status, b"<ErrorResponse><Error>" in body) == (400, True)


def test_a_bucket_may_have_the_name_of_the_paths(store):
    store.s3.create_bucket(Bucket="v20180820")
    store.s3.put_object(Bucket="v20180820", Key="tags/k", Body=b"content")
    assert store.s3.get_object(Bucket="v20180820", Key="tags/k")["Body"].read() == b"content"
    store.s3.delete_object(Bucket="v20180820", Key="tags/k")
    store.s3.delete_bucket(Bucket="v20180820")
