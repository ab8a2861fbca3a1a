"""What tools read of a bucket when they refresh, and what public access blocks do to its policy."""

import json
import secrets

import pytest

from stead_controller.db.tables import Bucket, IamRole
from tests.host.object_store.conftest import GUEST_ID
from tests.host.object_store.test_objects import refused
from tests.support import rows

ALL_ON = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


@pytest.fixture(autouse=True)
def policies(store):
    """Policies of roles that a test gives are gone after it."""
    yield
    store.policies.clear()


@pytest.fixture
def bucket(store):
    """A bucket of the first account with an object, which is removed afterwards."""
    s3 = store.s3
    name = f"settings-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"content")
    yield name
    s3.delete_bucket_policy(Bucket=name)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


def may(*actions):
    """A policy of a role that allows this everywhere."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def policy(bucket, principal, action="s3:GetObject", effect="Allow", **condition):
    statement = {"Effect": effect, "Principal": principal, "Action": action, "Resource": f"arn:aws:s3:::{bucket}/*"}
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_what_a_refresh_reads_of_a_new_bucket(store, bucket):
    """Terraform's aws_s3_bucket, Ansible's s3_bucket and others ask for all of this, and take these answers for none."""
    s3 = store.s3

    def ask(what):
        answer = getattr(s3, f"get_bucket_{what}")(Bucket=bucket)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    for what, nothing in (
        ("versioning", {}),
        ("logging", {}),
        ("notification_configuration", {}),
        ("accelerate_configuration", {}),
        ("request_payment", {"Payer": "BucketOwner"}),
        ("location", {"LocationConstraint": None}),
    ):
        assert ask(what) == nothing
    for code, call in (
        ("NoSuchBucketPolicy", s3.get_bucket_policy),
        ("NoSuchBucketPolicy", s3.get_bucket_policy_status),
        ("NoSuchCORSConfiguration", s3.get_bucket_cors),
        ("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration),
        ("NoSuchTagSet", s3.get_bucket_tagging),
        ("NoSuchWebsiteConfiguration", s3.get_bucket_website),
        ("ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration),
        ("ReplicationConfigurationNotFoundError", s3.get_bucket_replication),
    ):
        assert refused(code, call, Bucket=bucket) == 404
    for kind in ("analytics", "intelligent_tiering", "inventory", "metrics"):
        listed = getattr(s3, f"list_bucket_{kind}_configurations")(Bucket=bucket)
        assert listed["IsTruncated"] is False
        assert not [name for name in listed if name.endswith("List")]
        code = "NoSuchConfiguration"
        assert refused(code, getattr(s3, f"get_bucket_{kind}_configuration"), Bucket=bucket, Id="one") == 404
    for call in (s3.delete_bucket_cors, s3.delete_bucket_website, s3.delete_bucket_replication):
        call(Bucket=bucket)
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    requester = {"Payer": "Requester"}
    refused("NotImplemented", s3.put_bucket_request_payment, Bucket=bucket, RequestPaymentConfiguration=requester)


def test_a_lifecycle_is_stored_as_it_was_put(store, bucket):
    """With what Terraform says of it besides; what moves objects to other classes is refused."""
    s3, size = store.s3, "all_storage_classes_128K"
    tagged = {"And": {"Prefix": "logs/", "Tags": [{"Key": "a", "Value": "b"}]}}
    rules = [
        {"ID": "one", "Status": "Enabled", "Filter": tagged, "Expiration": {"Days": 90}},
        {"ID": "two", "Status": "Disabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
    ]
    params = {"LifecycleConfiguration": {"Rules": rules}, "TransitionDefaultMinimumObjectSize": size}
    put = s3.put_bucket_lifecycle_configuration(Bucket=bucket, **params)
    got = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert got["Rules"] == rules
    assert got["TransitionDefaultMinimumObjectSize"] == put["TransitionDefaultMinimumObjectSize"] == size
    assert got["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/xml"
    params["TransitionDefaultMinimumObjectSize"] = "varies_by_storage_class"
    refused("NotImplemented", s3.put_bucket_lifecycle_configuration, Bucket=bucket, **params)
    moving = [{"Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]}]
    params = {"LifecycleConfiguration": {"Rules": moving}}
    assert refused("NotImplemented", s3.put_bucket_lifecycle_configuration, Bucket=bucket, **params) == 501
    s3.delete_bucket_lifecycle(Bucket=bucket)


def test_a_public_access_block_is_stored_and_removed(store, bucket):
    s3 = store.s3
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == ALL_ON
    some = ALL_ON | {"IgnorePublicAcls": False, "RestrictPublicBuckets": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=some)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == some
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={})
    assert not any(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    for _ in range(2):
        s3.delete_public_access_block(Bucket=bucket)
    assert refused("NoSuchPublicAccessBlockConfiguration", s3.get_public_access_block, Bucket=bucket) == 404
    other = store.other.client("s3")
    refused("AccessDenied", other.get_public_access_block, Bucket=bucket)
    refused("AccessDenied", other.put_public_access_block, Bucket=bucket, PublicAccessBlockConfiguration={})
    refused("AccessDenied", other.delete_public_access_block, Bucket=bucket)


def test_public_policies_are_refused(store, bucket):
    s3 = store.s3
    public = policy(bucket, "*")
    assert refused("AccessDenied", s3.put_bucket_policy, Bucket=bucket, Policy=public) == 403
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=bucket)
    narrow = policy(bucket, "*", StringEquals={"aws:PrincipalAccount": store.other.account_id})
    for text in (policy(bucket, {"AWS": store.other.account_id}), policy(bucket, "*", effect="Deny"), narrow):
        s3.put_bucket_policy(Bucket=bucket, Policy=text)
        assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    s3.put_bucket_policy(Bucket=bucket, Policy=public)
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}


def test_a_public_bucket_is_restricted_to_its_account(store, bucket):
    s3, other = store.s3, store.other.client("s3")
    s3.delete_public_access_block(Bucket=bucket)
    both = json.loads(policy(bucket, "*"))
    both["Statement"] += json.loads(policy(bucket, {"AWS": store.other.account_id}))["Statement"]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(both))
    store.allow_role(may("s3:ListAllMyBuckets"))
    for each in (s3, other, store.role):
        assert each.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    # Not even whom the policy names is let in from outside, as long as anybody is.
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="k")
    for each in (s3, store.role):
        assert each.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, {"AWS": store.other.account_id}))
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"


def test_ownership_is_the_owners_or_not_said(store, bucket):
    s3 = store.s3
    owned = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == owned
    for _ in range(2):
        s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert refused("OwnershipControlsNotFoundError", s3.get_bucket_ownership_controls, Bucket=bucket) == 404
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=owned)
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == owned
    refused("NotImplemented", s3.create_bucket, Bucket=f"{bucket}-2", ObjectOwnership="ObjectWriter")
    refused("404", s3.head_bucket, Bucket=f"{bucket}-2")


def test_a_bucket_is_born_with_its_tags(store):
    s3, name = store.s3, f"tagged-{secrets.token_hex(4)}"
    tags = [{"Key": "team", "Value": "red/blue + 1"}, {"Key": "stage", "Value": "test"}]
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": tags})
    found = s3.get_bucket_tagging(Bucket=name)["TagSet"]
    assert sorted(found, key=str) == sorted(tags, key=str)
    s3.delete_bucket(Bucket=name)
    for bad in ([tags[0], tags[0]], [{"Key": "team", "Value": "red & blue"}]):
        refused("InvalidTag", s3.create_bucket, Bucket=name, CreateBucketConfiguration={"Tags": bad})
        refused("404", s3.head_bucket, Bucket=name)
    store.allow_role(may("s3:CreateBucket"))
    refused("AccessDenied", store.role.create_bucket, Bucket=name, CreateBucketConfiguration={"Tags": tags})
    refused("404", s3.head_bucket, Bucket=name)


def test_a_policy_names_roles_by_what_they_are(store, bucket):
    """Kept by its id, shown by its ARN; whoever is not there cannot be named; a role made anew does not inherit."""
    s3, theirs = store.s3, store.other.account_id
    arn = f"arn:aws:iam::{theirs}:role/reader"
    for absent in (f"{arn}s", "arn:aws:iam::999999999999:root", "999999999999", "AROA3333333333333ABCD"):
        text = policy(bucket, {"AWS": [arn, absent]})
        assert refused("MalformedPolicy", s3.put_bucket_policy, Bucket=bucket, Policy=text) == 400
    canonical = {"CanonicalUser": s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]}
    for text in (policy(bucket, canonical), policy(bucket, canonical, effect="Deny")):
        refused("MalformedPolicy", s3.put_bucket_policy, Bucket=bucket, Policy=text)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, {"AWS": [arn, theirs]}))

    def stored(tx):
        return tx.session.get(Bucket, bucket).policy

    def named():
        [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        return statement["Principal"]["AWS"]

    assert GUEST_ID in store.database.run_blocking(stored)
    assert arn not in store.database.run_blocking(stored)
    assert named() == [arn, theirs]
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, {"AWS": arn}))
    store.allow_guest(may("s3:*"))
    assert store.guest.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"

    def replace(old, new):
        def do(tx):
            tx.session.delete(tx.session.get(IamRole, old))
            tx.session.flush()
            tx.session.add(rows.role(theirs, "reader", id=new))

        store.database.run_blocking(do)

    another = "AROA3333333333333ABCD"
    replace(GUEST_ID, another)
    assert named() == GUEST_ID
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, {"AWS": arn}))  # the new one, which the guest is not
    refused("AccessDenied", store.guest.get_object, Bucket=bucket, Key="k")
    replace(another, GUEST_ID)
