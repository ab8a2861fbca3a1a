"""Every header and query field of S3's model is read, sent on, or refused by name."""

import pytest

from stead_controller.errors import BadRequest
from stead_controller.object_store import headers, operations
from stead_controller.object_store.headers import check_headers
from stead_controller.object_store.refused_operations import REFUSED_NAMES
from tests.unit.controller.object_store.test_operations import EACH, MODEL

BUILT = {
    each.name: each
    for each in (*EACH, operations.LIST_V2, operations.COPY, operations.COPY_PART)
    if each.name in MODEL.operation_names and each.name not in REFUSED_NAMES
}
WHAT_NO_BUCKET_HAS = {"AccessControlListNotSupported", "InvalidRequest"}
# What HTTP's own headers do, of which the rest is in HEADERS.
READ_OF_HTTP = {"content-length": "payload.Payload"}


def members(location):
    """The members of the requests that Stead answers, as operation and name on the wire."""
    for name, operation in BUILT.items():
        shape = MODEL.operation_model(name).input_shape
        for member in shape.members.values() if shape else ():
            if member.serialization.get("location") == location:
                yield operation, member.serialization["name"]


def refusal_of(operation, name, *values):
    """The refusal of one of Amazon's headers, if it is refused."""
    try:
        check_headers(operation, {name: list(values)})
    except BadRequest as error:
        return error
    return None


def test_each_header_of_the_model_counts():
    """A refusal has the header's name, or says what no bucket has."""
    unread = set()
    for operation, name in ((operation, name.lower()) for operation, name in members("header")):
        if name in headers.HEADERS or name in headers.READ or name in READ_OF_HTTP:
            continue
        refusal = refusal_of(operation, name, "x")
        said = refusal is not None and (name in refusal.message or refusal.code in WHAT_NO_BUCKET_HAS)
        unread |= set() if said else {(operation.name, name)}
    assert unread == set()
    metadata = {name for _, name in members("headers")}
    assert metadata == {headers.METADATA}


def test_what_is_read_is_in_the_model_or_says_why():
    known = {name.lower() for _, name in members("header")}
    signing = {"content-sha256", "date", "decoded-content-length", "security-token", "trailer", "user-agent"}
    of_sdks = {"api-version"}  # the SDK for C++ sends it with each request
    assert {name for name in headers.READ if name not in known} == {f"x-amz-{name}" for name in signing | of_sdks}
    assert all(headers.READ.values())


def test_each_query_field_of_the_model_counts():
    unread = {
        (operation.name, name)
        for operation, name in members("querystring")
        if name not in (*operation.query, *operations.SUBRESOURCES)
    }
    assert unread == set()


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("x-amz-bypass-governance-retention", ["true"], "InvalidArgument"),
        ("x-amz-bypass-governance-retention", ["false"], None),
        ("x-amz-mfa", ["123 456"], "NotImplemented"),
        ("x-amz-api-version", ["2006-03-01"], None),
        ("x-amz-api-version", ["2006-03-02"], "NotImplemented"),
        ("x-amz-bucket-namespace", ["account-regional"], "NotImplemented"),
        ("x-amz-bucket-namespace", ["global"], None),
        ("x-amz-storage-class", ["GLACIER"], "InvalidStorageClass"),
        ("x-amz-storage-class", ["STANDARD_IA"], None),
        ("x-amz-object-lock-mode", ["GOVERNANCE"], "InvalidRequest"),
        ("x-amz-website-redirect-location", ["/x"], "NotImplemented"),
        ("x-amz-write-offset-bytes", ["0"], "NotImplemented"),
        ("x-amz-a-header-of-later-years", ["x"], "NotImplemented"),
        ("x-amz-acl", ["public-read"], "AccessControlListNotSupported"),
        ("x-amz-acl", ["private"], None),
        ("x-amz-meta-anything", ["x"], None),
        (headers.RESERVED, ["x"], "InvalidArgument"),
        ("user-agent", ["x"], None),
    ],
)
def test_a_header_has_its_effect_or_is_refused_whatever_the_operation(name, values, code):
    for operation in EACH:
        if code is None or operation.name in REFUSED_NAMES:
            check_headers(operation, {name: values})
            continue
        with pytest.raises(BadRequest) as refusal:
            check_headers(operation, {name: values})
        assert refusal.value.code == code


@pytest.mark.parametrize(
    ("operation", "name", "value"),
    [
        ("PutObject", "if-none-match", '"an-etag"'),
        ("CompleteMultipartUpload", "if-none-match", '"an-etag"'),
        ("CopyObject", "x-amz-checksum-algorithm", "SHA256"),
        ("UploadPart", "if-match", '"an-etag"'),
    ],
)
def test_what_one_operation_refuses(operation, name, value):
    with pytest.raises(BadRequest) as refusal:
        check_headers(BUILT[operation], {name: [value]})
    assert (refusal.value.code, name in refusal.value.message) == ("NotImplemented", True)
    check_headers(BUILT["GetObject"], {name: [value]})


def test_metadata_have_a_largest_size():
    """Of names and values together, as S3 counts them: 2 KB."""
    name, other = f"{headers.METADATA}{'n' * 24}", f"{headers.METADATA}{'o' * 24}"
    check_headers(BUILT["PutObject"], {name: ["v" * 1000], other: ["v" * 500, "v" * 499]})
    with pytest.raises(BadRequest) as refusal:
        check_headers(BUILT["PutObject"], {name: ["v" * 1000], other: ["v" * 500, "v" * 500]})
    assert refusal.value.code == "MetadataTooLarge"


def test_the_standard_storage_class_is_not_answered():
    assert headers.answered({"X-Amz-Storage-Class": "STANDARD", "ETag": "x"}) == {"etag": "x"}
    assert headers.answered({"X-Amz-Storage-Class": "STANDARD_IA"}) == {"x-amz-storage-class": "STANDARD_IA"}


def test_an_object_is_made_only_where_there_is_none():
    check_headers(BUILT["PutObject"], {"if-none-match": ["*"]})
