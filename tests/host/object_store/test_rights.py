"""What policies may ask of a request to S3, and what a request needs rights to besides what it names."""

import secrets
from dataclasses import replace

import pytest

from tests.host.object_store.conftest import TOKEN
from tests.host.object_store.raw import Raw
from tests.host.object_store.test_objects import fetch
from tests.host.object_store.test_tenants import document, refused, statement
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def bucket(store):
    """A bucket of the first account with an object that has tags, and one that has none."""
    name = f"rights-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="red", Body=b"red", Tagging="colour=red")
    store.s3.put_object(Bucket=name, Key="plain", Body=b"plain")
    return name


@pytest.fixture
def let(store, bucket):
    """Let the role do actions on the bucket's objects, but for what statements deny."""

    def give(*actions, deny=(), **condition):
        arn = f"arn:aws:s3:::{bucket}"
        found = [
            statement("Allow", list(actions), [arn, f"{arn}/*"], **({"Condition": condition} if condition else {}))
        ]
        if deny:
            found.append(statement("Deny", "s3:*", "*", Condition=deny))
        store.allow_role(document(*found))

    return give


def test_setting_tags_needs_the_right_to(store, bucket, let):
    """However they come: with an object, with a copy, with an upload in parts."""
    let("s3:PutObject", "s3:GetObject", "s3:GetObjectTagging")
    role, tags = store.role, {"Tagging": "colour=blue"}
    copy = {"CopySource": f"{bucket}/plain", "TaggingDirective": "REPLACE"}
    for call, more in (
        (role.put_object, {"Body": b""}),
        (role.copy_object, copy),
        (role.create_multipart_upload, {}),
    ):
        assert "s3:PutObjectTagging" in refused("AccessDenied", call, Bucket=bucket, Key="k", **more, **tags)
        call(Bucket=bucket, Key="k", **more)
    let("s3:PutObject", "s3:GetObject", "s3:PutObjectTagging")
    role.put_object(Bucket=bucket, Key="k", Body=b"", **tags)


def test_tags_are_copied_for_who_may_read_and_set_them(store, bucket, let):
    role = store.role
    for lacking in ("s3:GetObjectTagging", "s3:PutObjectTagging"):
        let(*({"s3:PutObject", "s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging"} - {lacking}))
        said = refused("AccessDenied", role.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/red")
        assert lacking in said
        role.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/plain")
        role.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/red", TaggingDirective="REPLACE")
        assert store.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    let("s3:PutObject", "s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging")
    role.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/red")
    assert store.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "colour", "Value": "red"}]


def test_policies_ask_for_the_tags_of_a_request(store, bucket, let):
    role = store.role
    let("s3:PutObject*", deny={"StringNotLikeIfExists": {"s3:RequestObjectTag/colour": "re*"}})
    role.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="colour=red")
    refused("AccessDenied", role.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="colour=blue")
    tag = {"Bucket": bucket, "Key": "k"}
    role.put_object_tagging(**tag, Tagging={"TagSet": [{"Key": "colour", "Value": "reddish"}]})
    blue = {"TagSet": [{"Key": "colour", "Value": "blue"}]}
    refused("AccessDenied", role.put_object_tagging, **tag, Tagging=blue)
    let("s3:PutObject*", deny={"ForAnyValue:StringNotEquals": {"s3:RequestObjectTagKeys": ["colour"]}})
    refused("AccessDenied", role.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="colour=red&size=1")
    role.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="colour=red")
    assert store.s3.get_object_tagging(**tag)["TagSet"] == [{"Key": "colour", "Value": "red"}]


def test_policies_ask_for_the_tags_that_an_object_has(store, bucket, let):
    role, red = store.role, {"StringEquals": {"s3:ExistingObjectTag/colour": "red"}}
    let("s3:GetObject", "s3:PutObject", "s3:GetObjectAttributes", deny=red)
    assert role.get_object(Bucket=bucket, Key="plain")["Body"].read() == b"plain"
    refused("AccessDenied", role.get_object, Bucket=bucket, Key="red")
    refused("403", role.head_object, Bucket=bucket, Key="red")
    asked = {"ObjectAttributes": ["ETag"]}
    refused("AccessDenied", role.get_object_attributes, Bucket=bucket, Key="red", **asked)
    refused("AccessDenied", role.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/red")
    let("s3:GetObject", StringEquals={"s3:ExistingObjectTag/colour": "red"})
    assert role.get_object(Bucket=bucket, Key="red")["Body"].read() == b"red"
    refused("AccessDenied", role.get_object, Bucket=bucket, Key="plain")
    refused("AccessDenied", role.get_object, Bucket=bucket, Key="none")


def test_who_may_not_list_does_not_learn_what_is_there(store, bucket, let):
    role = store.role
    let("s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectAcl", "s3:PutObject")
    for call, more in (
        (role.get_object, {}),
        (role.get_object_tagging, {}),
        (role.get_object_acl, {}),
        (role.copy_object, {"CopySource": f"{bucket}/none"}),
    ):
        assert "s3:ListBucket" in refused("AccessDenied", call, Bucket=bucket, Key="none", **more)
    refused("403", role.head_object, Bucket=bucket, Key="none")
    let("s3:GetObject", "s3:PutObject", "s3:ListBucket")
    refused("NoSuchKey", role.get_object, Bucket=bucket, Key="none")
    refused("404", role.head_object, Bucket=bucket, Key="none")
    refused("NoSuchKey", role.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/none")


def test_a_copy_is_of_whose_bucket_it_is_said_to_be(store, bucket):
    copy = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/plain"}
    store.s3.copy_object(**copy, ExpectedSourceBucketOwner=store.one.account_id)
    for owner in ("ExpectedSourceBucketOwner", "ExpectedBucketOwner"):
        refused("AccessDenied", store.s3.copy_object, **copy, **{owner: store.other.account_id})


def test_attributes_are_of_who_may_read(store, bucket, let):
    asked = {"Bucket": bucket, "Key": "plain", "ObjectAttributes": ["ObjectSize"]}
    let("s3:GetObjectAttributes")
    refused("AccessDenied", store.role.get_object_attributes, **asked)
    let("s3:GetObject")
    refused("AccessDenied", store.role.get_object_attributes, **asked)
    let("s3:GetObject", "s3:GetObjectAttributes")
    assert store.role.get_object_attributes(**asked)["ObjectSize"] == 5


def test_buckets_are_listed_by_either_name_of_all(store):
    for every in ("*", "arn:aws:s3:::*"):
        store.allow_role(document(statement("Allow", "s3:ListAllMyBuckets", every)))
        store.role.list_buckets()
    store.allow_role(document(statement("Allow", "s3:ListAllMyBuckets", "arn:aws:s3:::one")))
    refused("AccessDenied", store.role.list_buckets)


def test_policies_ask_how_a_request_was_signed(store, bucket, let):
    role = store.role
    params = {"Bucket": bucket, "Key": "plain"}

    def status(version):
        maker = store.role_account.client("s3", signature_version=version)
        return fetch(maker.generate_presigned_url("get_object", Params=params, ExpiresIn=60), store)[0]

    let("s3:GetObject", deny={"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}})
    assert (status("s3v4"), status("s3")) == (200, 403)
    let("s3:GetObject", deny={"NumericGreaterThan": {"s3:signatureAge": 600_000}})
    assert (status("s3v4"), status("s3")) == (200, 403)  # nobody knows how old the second is
    let("s3:GetObject", deny={"NumericLessThan": {"s3:signatureAge": 600_000}})
    refused("AccessDenied", role.get_object, **params)
    let("s3:GetObject", deny={"StringEquals": {"s3:authType": "REST-QUERY-STRING"}})
    role.get_object(**params)
    assert status("s3v4") == 403
    let("s3:GetObject", deny={"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}})
    role.get_object(**params)
    assert status("s3v4") == 403


def test_policies_ask_for_headers_and_fields(store, bucket, let):
    role, put = store.role, {"Bucket": bucket, "Key": "k", "Body": b""}
    let(
        "s3:PutObject",
        "s3:GetObject",
        deny={"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
    )
    key = f"new-{secrets.token_hex(4)}"
    refused("AccessDenied", role.put_object, **put)
    role.put_object(**put | {"Key": key}, IfNoneMatch="*")
    role.create_multipart_upload(Bucket=bucket, Key=key)
    let("s3:PutObject", "s3:GetObject", deny={"StringLike": {"s3:x-amz-copy-source": f"{bucket}/re*"}})
    for source in (f"{bucket}/red", f"/{bucket}/red", f"{bucket}/%72ed"):
        raw = Raw(store.role_account, "PUT", f"/{bucket}/k", x_amz_copy_source=source, x_amz_security_token=TOKEN)
        assert raw.send()[0] == 403
    role.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/plain")
    let("s3:PutObject", "s3:GetObject", deny={"StringEquals": {"s3:x-amz-metadata-directive": "REPLACE"}})
    refused(
        "AccessDenied",
        role.copy_object,
        Bucket=bucket,
        Key="k",
        CopySource=f"{bucket}/plain",
        MetadataDirective="REPLACE",
    )
    let("s3:GetObject", StringLike={"aws:Referer": "http://example.com/*"})
    refused("AccessDenied", role.get_object, Bucket=bucket, Key="plain")
    raw = Raw(store.role_account, "GET", f"/{bucket}/plain", referer="http://example.com/a", x_amz_security_token=TOKEN)
    assert raw.send() == (200, b"plain")


def test_policies_ask_which_tls_it_is(store, bucket, let):
    store.allow_role(
        document(
            statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/*"),
            statement("Deny", "s3:*", "*", Condition={"NumericLessThan": {"s3:TlsVersion": "9"}}),
        )
    )
    store.role.get_object(Bucket=bucket, Key="plain")  # which is not encrypted at all
    secure = replace(store.role_account, endpoint=store.secure.endpoint, ca_file=store.secure.ca_file).client("s3")
    refused("AccessDenied", secure.get_object, Bucket=bucket, Key="plain")


def test_policies_ask_what_a_new_bucket_is(store):
    name = f"new-{secrets.token_hex(4)}"
    elsewhere = {"StringEquals": {"s3:LocationConstraint": "us-east-1"}}
    store.allow_role(
        document(statement("Allow", ["s3:CreateBucket"], "*"), statement("Deny", "*", "*", Condition=elsewhere))
    )
    place = {"CreateBucketConfiguration": {"LocationConstraint": "us-east-1"}}
    refused("AccessDenied", store.role.create_bucket, Bucket=name, **place)
    team = {"StringEquals": {"aws:RequestTag/team": "red"}}
    store.allow_role(document(statement("Allow", ["s3:CreateBucket", "s3:TagResource"], "*", Condition=team)))
    for tag, code in (("blue", "AccessDenied"), ("red", None)):
        tagged = {"CreateBucketConfiguration": {"Tags": [{"Key": "team", "Value": tag}]}}
        if code:
            refused(code, store.role.create_bucket, Bucket=name, **tagged)
        else:
            store.role.create_bucket(Bucket=name, **tagged)
    store.s3.delete_bucket(Bucket=name)


def test_each_version_of_a_deletion_is_decided_about(store, let, bucket):
    name = f"versioned-{secrets.token_hex(4)}"
    store.s3.create_bucket(Bucket=name)
    store.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    stored, gone = (store.s3.put_object(Bucket=name, Key="k", Body=b"")["VersionId"] for _ in range(2))
    arn = f"arn:aws:s3:::{name}/*"
    store.allow_role(
        document(
            statement("Allow", "s3:DeleteObjectVersion", arn),
            statement("Deny", "s3:*", arn, Condition={"StringEquals": {"s3:VersionId": stored}}),
        )
    )
    wanted = [{"Key": "k", "VersionId": version} for version in (stored, gone)]
    answer = store.role.delete_objects(Bucket=name, Delete={"Objects": wanted})
    assert [each["VersionId"] for each in answer["Deleted"]] == [gone]
    assert [(each["VersionId"], each["Code"]) for each in answer["Errors"]] == [(stored, "AccessDenied")]
    store.s3.delete_object(Bucket=name, Key="k", VersionId=stored)
    store.s3.delete_bucket(Bucket=name)


@pytest.fixture
def public(store, bucket):
    """A bucket whose policy lets everybody read what begins with `pl`."""
    store.s3.delete_public_access_block(Bucket=bucket)
    read = statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/pl*", Principal="*")
    store.s3.put_bucket_policy(Bucket=bucket, Policy=document(read))
    yield bucket
    store.s3.delete_bucket_policy(Bucket=bucket)


def unsigned(store, path, method="GET", body=None):
    status, _, answer = fetch(f"{store.one.endpoint}/{path}", store, method, body)
    return status, answer if status == 200 else answer.partition(b"<Code>")[2].partition(b"</Code>")[0]


def test_everybody_may_read_what_a_policy_makes_public(store, public):
    store.calls.clear()
    assert unsigned(store, f"{public}/plain") == (200, b"plain")
    assert unsigned(store, f"{public}/plain", "HEAD") == (200, b"")

    def nobodys():
        return [call.error_code for call in store.calls if call.caller is None]

    wait_for(lambda: len(nobodys()) == 2, "both calls were recorded, which is after their last byte", 10)
    assert nobodys() == [None, None]
    done = store.one.aws_result("--no-sign-request", "s3", "cp", f"s3://{public}/plain", "-")
    assert (done.returncode, done.stdout) == (0, "plain"), done.stderr
    status, _, _ = fetch(f"{store.one.endpoint}/{public}/plain?response-content-type=text%2Fhtml", store)
    assert status == 400
    denied = (403, b"AccessDenied")
    for path in (
        f"{public}/red",
        f"{public}/plain2",
        public,
        f"{public}?policy",
        f"{public}/plain?acl",
        f"{public}-none/plain",
    ):
        assert unsigned(store, path) == denied
    for method, path in (("PUT", "plain"), ("DELETE", "plain"), ("PUT", "plain?tagging")):
        assert unsigned(store, f"{public}/{path}", method, b"" if method == "PUT" else None) == denied


def test_nothing_else_makes_anything_public(store, public):
    arn = f"arn:aws:s3:::{public}/*"
    anything = statement("Allow", "s3:*", [arn, f"arn:aws:s3:::{public}"], Principal="*")
    store.s3.put_bucket_policy(Bucket=public, Policy=document(anything))
    assert unsigned(store, f"{public}/plain") == (200, b"plain")
    for method, path in (("PUT", "new"), ("GET", "?policy"), ("DELETE", "plain"), ("PUT", "?policy"), ("DELETE", "")):
        assert unsigned(store, f"{public}/{path}", method, b"" if method == "PUT" else None) == (403, b"AccessDenied")
    stored = {
        "RestrictPublicBuckets": True,
        "BlockPublicPolicy": False,
        "BlockPublicAcls": False,
        "IgnorePublicAcls": False,
    }
    store.s3.put_public_access_block(Bucket=public, PublicAccessBlockConfiguration=stored)
    assert unsigned(store, f"{public}/plain") == (403, b"AccessDenied")
    store.s3.delete_public_access_block(Bucket=public)
    for narrow in (
        statement("Allow", "s3:GetObject", arn, Principal={"AWS": store.one.account_id}),
        statement("Allow", "s3:GetObject", arn, Principal="*", Condition={"StringLike": {"aws:PrincipalAccount": "*"}}),
        statement("Allow", "s3:GetObject", arn, Principal="*", Condition={"StringLike": {"s3:authType": "*"}}),
    ):
        store.s3.put_bucket_policy(Bucket=public, Policy=document(narrow))
        assert unsigned(store, f"{public}/plain") == (403, b"AccessDenied")
    everybody = statement("Allow", "s3:GetObject", arn, Principal="*")
    known = statement(
        "Deny", "s3:GetObject", arn, Principal="*", Condition={"StringEquals": {"aws:PrincipalType": "Anonymous"}}
    )
    store.s3.put_bucket_policy(Bucket=public, Policy=document(everybody, known))
    assert unsigned(store, f"{public}/plain") == (403, b"AccessDenied")
