"""What a request may ask of encryption, and what of a bucket's default and an object's key is shown."""

import pytest

from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest
from stead_controller.object_store import answers, encryption
from stead_controller.object_store.answers import EncryptionRule
from stead_controller.object_store.encryption import BUCKET_KEY, HEADER, KEY, AtRest
from stead_controller.object_store.headers import RESERVED

ARN = "arn:aws:kms:us-east-1:111111111111:key/11111111-2222-3333-4444-555555555555"
ID = ARN.rpartition("/")[2]


def request(**headers):
    found = {"sse": HEADER, "key": KEY, "bucket_key": BUCKET_KEY}
    return Request("PUT", "/b/k", "", tuple((found[name], value) for name, value in headers.items()), b"", "")


@pytest.mark.parametrize(
    ("operation", "headers", "code"),
    [
        ("PutObject", {}, None),
        ("PutObject", {"sse": "AES256", "bucket_key": "false"}, None),
        ("CopyObject", {"sse": "aws:kms", "key": "x", "bucket_key": "true"}, None),
        ("CreateMultipartUpload", {"bucket_key": "true"}, None),
        ("PutObject", {"sse": "aws:kms:dsse"}, "NotImplemented"),
        ("PutObject", {"sse": "rot13"}, "InvalidEncryptionAlgorithmError"),
        ("PutObject", {"key": "x"}, "InvalidArgument"),
        ("PutObject", {"key": "x", "sse": "AES256"}, "InvalidArgument"),
        ("PutObject", {"bucket_key": "true", "sse": "AES256"}, "InvalidArgument"),
        ("PutObject", {"bucket_key": "yes", "sse": "aws:kms"}, "InvalidArgument"),
        ("GetObject", {}, None),
        ("GetObject", {"sse": "aws:kms"}, "InvalidArgument"),
        ("UploadPart", {"sse": "AES256"}, "InvalidArgument"),
        ("UploadPart", {"bucket_key": "true"}, "InvalidArgument"),
    ],
)
def test_what_a_request_may_ask(operation, headers, code):
    if code is None:
        encryption.check(request(**headers), operation)
        return
    with pytest.raises(BadRequest) as refusal:
        encryption.check(request(**headers), operation)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("at_rest", "name", "said"),
    [
        (AtRest(), None, {HEADER: "AES256"}),
        (AtRest(ARN), ARN, {HEADER: "aws:kms", KEY: ARN}),
        (AtRest(ARN, has_bucket_key=True), f"{ARN} bucket-key", {HEADER: "aws:kms", KEY: ARN, BUCKET_KEY: "true"}),
    ],
)
def test_the_stored_encryption_of_an_object_is_shown(at_rest, name, said):
    sent = at_rest.sent()
    assert (sent[HEADER], sent.get(RESERVED)) == ("AES256", name)  # which the server behind does, whatever it is called
    assert at_rest.answered() == said
    assert encryption.shown({**sent, "etag": "x"}) == {**said, "etag": "x"}


def test_what_is_not_encrypted_has_no_key():
    assert encryption.shown({RESERVED: ARN}) == {}


def test_what_a_server_behind_says_of_its_own_stays():
    assert encryption.shown({HEADER: "aws:kms"}) == {HEADER: "aws:kms"}


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"sse": "AES256"}, None),
        ({"sse": "aws:kms", "key": ID}, ARN),
        ({"sse": "aws:kms", "key": ARN}, ARN),
        ({"sse": "aws:kms", "key": "no key"}, "no key"),
        ({"key": "x"}, "x"),
    ],
)
def test_which_key_a_policy_sees(headers, key):
    assert encryption.named_key(request(**headers), "us-east-1", "111111111111") == key


def test_a_policy_sees_the_accounts_own_key_where_none_is_named():
    found = encryption.named_key(request(sse="aws:kms"), "us-east-1", "111111111111")
    assert found == encryption.key_arn("", "us-east-1", "111111111111")


@pytest.mark.parametrize(
    "rule",
    [
        EncryptionRule("AES256"),
        EncryptionRule("AES256", has_bucket_key=True, blocks_customers=True),
        EncryptionRule("aws:kms", "alias/<&>", has_bucket_key=True),
    ],
)
def test_a_default_is_written_as_it_was_read(rule):
    assert answers.read_encryption(answers.encryption(rule)) == rule


def document(*rules):
    return f"<ServerSideEncryptionConfiguration>{''.join(rules)}</ServerSideEncryptionConfiguration>".encode()


DEFAULT = "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>"


@pytest.mark.parametrize(
    "content",
    [
        document(),
        document("<Rule/>"),
        document(f"<Rule>{DEFAULT}</Rule>", f"<Rule>{DEFAULT}</Rule>"),
        document(f"<Rule>{DEFAULT}<Later>1</Later></Rule>"),
        document(f"<Rule>{DEFAULT}<BucketKeyEnabled>yes</BucketKeyEnabled></Rule>"),
        f"<Other><Rule>{DEFAULT}</Rule></Other>".encode(),
    ],
)
def test_what_is_no_default(content):
    with pytest.raises(BadRequest) as refusal:
        answers.read_encryption(content)
    assert refusal.value.code == "MalformedXML"
