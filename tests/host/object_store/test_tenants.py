"""Whose bucket it is, and who else may: by accounts, by roles' policies, by buckets' policies."""

import json
import secrets
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from stead_controller.aws.token_buckets import TokenBuckets
from stead_controller.errors import Unavailable
from stead_controller.object_store import bucket_operations
from stead_controller.object_store.concurrency_limit import AtOnce
from tests.host.object_store.conftest import ROLE_KEY


def refused(code, function, **params):
    with pytest.raises(ClientError) as refusal:
        function(**params)
    assert refusal.value.response["Error"]["Code"] == code, refusal.value.response
    return refusal.value.response["Error"].get("Message", "")


@pytest.fixture
def bucket(store):
    """A bucket of the first account with two objects, which is emptied and removed afterwards."""
    s3 = store.s3
    name = f"tenants-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=name)
    for key in ("open/a", "secret/b"):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    yield name
    s3.delete_bucket_policy(Bucket=name)
    for each in s3.list_objects_v2(Bucket=name).get("Contents", ()):
        s3.delete_object(Bucket=name, Key=each["Key"])
    s3.delete_bucket(Bucket=name)


def statement(effect, action, resource, **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_a_bucket_is_its_owners(store, bucket, monkeypatch):
    other = store.other.client("s3")
    for call, more in (
        (other.get_object, {"Key": "open/a"}),
        (other.put_object, {"Key": "open/a", "Body": b"theirs"}),
        (other.delete_object, {"Key": "open/a"}),
        (other.delete_objects, {"Delete": {"Objects": [{"Key": "open/a"}]}}),
        (other.list_objects_v2, {}),
        (other.create_multipart_upload, {"Key": "open/a"}),
        (other.get_bucket_policy, {}),
        (other.delete_bucket, {}),
    ):
        refused("AccessDenied", call, Bucket=bucket, **more)
    refused("403", other.head_bucket, Bucket=bucket)
    refused("403", other.head_object, Bucket=bucket, Key="open/a")
    refused("BucketAlreadyExists", other.create_bucket, Bucket=bucket)
    store.s3.create_bucket(Bucket=bucket)  # as S3 answers in us-east-1
    tagged = {"Tags": [{"Key": "a", "Value": "b"}]}
    refused("BucketAlreadyOwnedByYou", store.s3.create_bucket, Bucket=bucket, CreateBucketConfiguration=tagged)
    monkeypatch.setattr(bucket_operations, "_ALLOWS_AGAIN", "us-east-2")
    refused("BucketAlreadyOwnedByYou", store.s3.create_bucket, Bucket=bucket)
    refused("NoSuchBucket", other.list_objects_v2, Bucket=f"{bucket}-none")
    assert bucket not in [each["Name"] for each in other.list_buckets()["Buckets"]]
    mine = f"theirs-{secrets.token_hex(4)}"
    other.create_bucket(Bucket=mine)
    refused("AccessDenied", other.copy_object, Bucket=mine, Key="k", CopySource=f"{bucket}/open/a")
    refused("AccessDenied", store.s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner=store.other.account_id)
    other.delete_bucket(Bucket=mine)
    assert store.s3.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"open/a"


def test_a_bucket_policy_lets_another_account_in(store, bucket):
    other, arn = store.other.client("s3"), f"arn:aws:s3:::{bucket}"
    whom = {"Principal": {"AWS": store.other.account_id}}
    text = document(
        statement("Allow", ["s3:GetObject", "s3:DeleteObject"], f"{arn}/open/*", **whom),
        statement("Allow", "s3:ListBucket", arn, **whom, Condition={"StringEquals": {"s3:prefix": "open/"}}),
    )
    store.s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert store.s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert other.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"open/a"
    assert other.list_objects_v2(Bucket=bucket, Prefix="open/")["KeyCount"] == 1
    refused("AccessDenied", other.list_objects_v2, Bucket=bucket)
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="secret/b")
    refused("AccessDenied", other.put_object, Bucket=bucket, Key="open/a", Body=b"x")
    answer = other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "open/a"}, {"Key": "secret/b"}]})
    assert [each["Key"] for each in answer["Deleted"]] == ["open/a"]
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [("secret/b", "AccessDenied")]
    store.s3.delete_bucket_policy(Bucket=bucket)
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="secret/b")
    refused("NoSuchBucketPolicy", store.s3.get_bucket_policy, Bucket=bucket)


def test_a_bucket_policy_names_a_role_of_another_account(store, bucket):
    """Both must allow, the owner by the role's ARN and the role's account by its policies; nobody else comes along."""
    arn = f"arn:aws:s3:::{bucket}"
    theirs, guest, other, mine = store.other.account_id, store.guest, store.other.client("s3"), store.s3
    by_arn = {"Principal": {"AWS": f"arn:aws:iam::{theirs}:role/reader"}}
    mine.put_bucket_policy(
        Bucket=bucket, Policy=document(statement("Allow", ["s3:GetObject", "s3:PutObject"], f"{arn}/open/*", **by_arn))
    )
    store.allow_guest(document(statement("Allow", "s3:GetObject", f"{arn}/*")))
    assert guest.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"open/a"
    said = refused("AccessDenied", guest.put_object, Bucket=bucket, Key="open/c", Body=b"")
    assert "no identity-based policy" in said
    said = refused("AccessDenied", guest.get_object, Bucket=bucket, Key="secret/b")
    assert "no resource-based policy" in said
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="open/a")
    store.allow_guest(document(statement("Allow", "s3:ListAllMyBuckets", "*")))
    refused("AccessDenied", guest.get_object, Bucket=bucket, Key="open/a")
    # The session itself may be named, and everybody of an account, by what conditions tell of the principal.
    session = {"Principal": {"AWS": f"arn:aws:sts::{theirs}:assumed-role/reader/test"}}
    team = {
        "StringEquals": {"aws:PrincipalAccount": theirs},
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/re*"},
    }
    for whom in (session, {"Principal": "*", "Condition": team}):
        text = document(statement("Allow", "s3:GetObject", f"{arn}/open/*", **whom))
        mine.put_bucket_policy(Bucket=bucket, Policy=text)
        store.allow_guest(document(statement("Allow", "s3:*", "*")))
        assert guest.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"open/a"
        store.allow_guest(document(statement("Allow", "s3:ListAllMyBuckets", "*")))
        refused("AccessDenied", guest.get_object, Bucket=bucket, Key="open/a")
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="open/a")


@pytest.mark.parametrize(
    "policy",
    [
        "no json",
        document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Principal": "*"}),
        document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::another/*", "Principal": "*"}),
        document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::another/*"}),
    ],
)
def test_policies_that_a_bucket_cannot_have(store, bucket, policy):
    refused("MalformedPolicy", store.s3.put_bucket_policy, Bucket=bucket, Policy=policy)


def test_a_deny_binds_its_owner_too_who_can_take_it_back(store, bucket):
    deny = statement("Deny", "s3:*", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"], Principal="*")
    store.s3.put_bucket_policy(Bucket=bucket, Policy=document(deny))
    refused("AccessDenied", store.s3.get_object, Bucket=bucket, Key="open/a")
    store.s3.delete_bucket_policy(Bucket=bucket)
    store.s3.get_object(Bucket=bucket, Key="open/a")


def test_a_role_may_what_its_policies_say(store, bucket):
    arn = f"arn:aws:s3:::{bucket}"
    store.allow_role(
        document(
            statement("Allow", ["s3:GetObject", "s3:PutObject"], f"{arn}/open/*"),
            statement("Allow", "s3:ListBucket", arn, Condition={"StringLike": {"s3:prefix": "open/*"}}),
            statement("Deny", "s3:PutObject", f"{arn}/open/fixed"),
        )
    )
    role = store.role
    role.put_object(Bucket=bucket, Key="open/c", Body=b"by the role")
    assert role.get_object(Bucket=bucket, Key="open/c")["Body"].read() == b"by the role"
    assert role.list_objects_v2(Bucket=bucket, Prefix="open/")["KeyCount"] == 2
    said = refused("AccessDenied", role.get_object, Bucket=bucket, Key="secret/b")
    assert "assumed-role/reader/test is not authorized to perform: s3:GetObject" in said
    assert "no identity-based policy" in said
    assert "explicit deny" in refused("AccessDenied", role.put_object, Bucket=bucket, Key="open/fixed", Body=b"")
    for call, more in (
        (role.list_objects_v2, {}),
        (role.copy_object, {"Key": "open/d", "CopySource": f"{bucket}/secret/b"}),
        (role.put_object, {"Key": "open/d", "Body": b"", "Tagging": "a=b"}),
        (role.get_object, {"Key": "open/c", "VersionId": "null"}),
        (role.put_bucket_policy, {"Policy": document()}),
        (role.delete_bucket, {}),
    ):
        refused("AccessDenied", call, Bucket=bucket, **more)
    refused("AccessDenied", role.list_buckets)
    refused("AccessDenied", role.create_bucket, Bucket="a-bucket-of-a-role")


def test_policies_ask_who_the_caller_is(store, bucket):
    """The keys that policies of EC2 have as well: of the principal, its tags, and whose bucket it is."""
    arn = f"arn:aws:s3:::{bucket}/*"
    account, role = store.one.account_id, store.role
    for name, value in (
        ("aws:PrincipalArn", f"arn:aws:iam::{account}:role/reader"),
        ("aws:PrincipalAccount", account),
        ("aws:PrincipalType", "AssumedRole"),
        ("aws:PrincipalTag/team", "web"),
        ("aws:userid", "AROA11111111111111111:test"),
        ("aws:ResourceAccount", account),
        ("s3:ResourceAccount", account),
        ("aws:RequestedRegion", "us-east-1"),
    ):
        store.allow_role(document(statement("Allow", "s3:GetObject", arn, Condition={"StringEquals": {name: value}})))
        store.tags.update(team="web")
        role.get_object(Bucket=bucket, Key="open/a")
        other = {"StringEquals": {name: f"{value}x"}}
        store.allow_role(document(statement("Allow", "s3:GetObject", arn, Condition=other)))
        refused("AccessDenied", role.get_object, Bucket=bucket, Key="open/a")
    own_place = document(statement("Allow", "s3:*", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*"))
    store.allow_role(own_place)
    store.tags.update(team="open")
    role.get_object(Bucket=bucket, Key="open/a")
    refused("AccessDenied", role.get_object, Bucket=bucket, Key="secret/b")
    second_factor = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    store.allow_role(document(statement("Allow", "s3:*", arn, Condition=second_factor)))
    refused("AccessDenied", role.get_object, Bucket=bucket, Key="open/a")
    store.tags.clear()


def test_too_many_requests_get_slow_down(store, bucket, monkeypatch):
    monkeypatch.setattr(store.throttle, "_buckets", TokenBuckets(2 / 55, lambda: 0.0))  # two reads
    for _ in range(2):
        store.s3.get_object(Bucket=bucket, Key="open/a")
    said = refused("SlowDown", store.s3.get_object, Bucket=bucket, Key="open/a")
    assert said == "Please reduce your request rate."
    monkeypatch.undo()
    store.s3.get_object(Bucket=bucket, Key="open/a")
    monkeypatch.setattr(store.failed_logins, "_failures", TokenBuckets(0.1, lambda: 0.0))  # one failure
    stranger = replace(store.one, access_key_id="AKIANOBODY0000000000").client("s3")
    refused("InvalidAccessKeyId", stranger.list_buckets)
    store.calls.clear()
    refused("SlowDown", stranger.list_buckets)
    assert not [call for call in store.calls if call.caller is None]
    store.s3.list_buckets()


def test_who_cannot_be_looked_up_has_not_failed_to_log_in(store, bucket, monkeypatch):
    async def away(*_asked):
        raise Unavailable

    monkeypatch.setattr(store.failed_logins, "_failures", TokenBuckets(0.1, lambda: 0.0))  # one failure
    with monkeypatch.context() as patch:
        patch.setattr(store.handler, "_find_key", away)
        for _ in range(3):
            said = refused("ServiceUnavailable", store.s3.get_object, Bucket=bucket, Key="open/a")
            assert "does not answer" in said
    store.s3.get_object(Bucket=bucket, Key="open/a")


def test_too_many_concurrent_requests_get_slow_down(store, bucket, monkeypatch):
    monkeypatch.setattr(store.handler, "_at_once", AtOnce(0))
    refused("SlowDown", store.s3.get_object, Bucket=bucket, Key="open/a")
    monkeypatch.setattr(store.handler, "_at_once", AtOnce(1))
    for _ in range(3):  # those that have ended, well or not, count no more
        store.s3.get_object(Bucket=bucket, Key="open/a")
        refused("NoSuchKey", store.s3.get_object, Bucket=bucket, Key="open/none")


def test_calls_are_recorded(store, bucket):
    store.calls.clear()
    store.allow_role(document(statement("Deny", "*", "*")))
    refused("AccessDenied", store.role.get_object, Bucket=bucket, Key="open/a")
    [call] = [call for call in store.calls if call.error_code is not None]
    assert (call.service, call.operation, call.status, call.error_code) == ("s3", "GetObject", 403, "AccessDenied")
    assert call.access_key_id == ROLE_KEY
    assert (call.params["Bucket"], call.params["Key"]) == (bucket, "open/a")
