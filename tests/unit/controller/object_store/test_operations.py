"""Method, path and query name an operation; the table agrees with botocore's model of S3."""

import copy
import re

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from stead_controller.errors import BadRequest
from stead_controller.object_store import bucket_operations, headers, operations
from stead_controller.object_store.addressing import Address
from stead_controller.object_store.operations import find_operation

MODEL = ServiceModel(copy.deepcopy(Loader().load_service_model("s3", "service-2")), "s3")
"""Of its own: clients change the addresses of the model that they share."""
EACH = [*operations._TABLE.values(), *operations._OF_ONE.values()]
BUCKET, OBJECT = Address("b"), Address("b", "k")


def requests():
    """Every operation of S3's model with the method, the address and the query fields that name it."""
    for name in MODEL.operation_names:
        http = MODEL.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        required = MODEL.operation_model(name).input_shape
        named = [re.sub(r"=.*", "", piece) for piece in query.split("&") if piece]
        for member in required.required_members if required else ():
            shape = required.members[member]
            if shape.serialization.get("location") == "querystring":
                named.append(shape.serialization["name"])
        address = OBJECT if "{Key+}" in path else BUCKET if "{Bucket}" in path else Address()
        yield name, http["method"], address, named


def test_what_is_built_is_found_by_its_name_and_nothing_else_is():
    """With those that are refused by name; those of no SDK are in no model."""
    built = {each.name for each in EACH} | {"ListObjectsV2", "CopyObject", "UploadPartCopy"}
    built.remove("PostObject")
    assert built <= set(MODEL.operation_names)
    found = set()
    for name, method, address, query in requests():
        operation = named(method, address, query, copies=name in ("CopyObject", "UploadPartCopy"))
        if operation == name:
            found.add(name)
        elif name not in ALIKE:
            assert operation is None, name
    assert found == built


def named(method, address, query, *, copies):
    """The name of the operation that a request means; None when it is refused."""
    try:
        return find_operation(method, address, query, copies=copies).name
    except BadRequest:
        return None


# Older forms of requests, which the same fields name, and those that other hosts serve.
ALIKE = {
    "GetBucketLifecycle",
    "GetBucketNotification",
    "ListDirectoryBuckets",
    "ListObjectAnnotations",
    "PutBucketLifecycle",
    "PutBucketNotification",
    "WriteGetObjectResponse",
}


def test_all_that_is_answered_here_has_an_answer():
    here = {each.name for each in EACH if each.is_answered_here}
    assert here == set(bucket_operations.HANDLERS)


@pytest.mark.parametrize(
    ("method", "address", "query", "code"),
    [
        ("GET", BUCKET, ["acl", "policy"], "InvalidArgument"),
        ("POST", OBJECT, [], "NotImplemented"),
        ("PUT", BUCKET, ["torrent"], "NotImplemented"),
        ("PATCH", OBJECT, [], "MethodNotAllowed"),
        ("DELETE", Address(), [], "NotImplemented"),
        ("DELETE", BUCKET, ["aConfigurationOfLaterYears"], "NotImplemented"),
        ("DELETE", OBJECT, ["versionid"], "NotImplemented"),
    ],
)
def test_what_is_not_built(method, address, query, code):
    with pytest.raises(BadRequest) as refusal:
        find_operation(method, address, query, copies=False)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("method", "address", "query", "name"),
    [
        ("POST", BUCKET, [], "PostObject"),
        ("PUT", BUCKET, ["website"], "PutBucketWebsite"),
        ("PUT", BUCKET, ["inventory", "id"], "PutBucketInventoryConfiguration"),
        ("POST", OBJECT, ["select", "select-type"], "SelectObjectContent"),
        ("DELETE", OBJECT, ["annotation", "annotationName"], "DeleteObjectAnnotation"),
    ],
)
def test_what_is_not_built_has_a_name_and_a_right(method, address, query, name):
    operation = find_operation(method, address, query, copies=False)
    assert (operation.name, bool(operation.action), operation.is_answered_here) == (name, True, True)


def test_no_header_that_says_who_asks_goes_on():
    names = headers.HEADERS | headers.ANSWERED
    assert not {"authorization", "host", "cookie", "x-amz-date", "x-amz-security-token", "x-forwarded-for"} & names
    assert not [name for name in names if name.startswith(("x-amz-acl", "x-amz-grant", "x-seaweedfs"))]
