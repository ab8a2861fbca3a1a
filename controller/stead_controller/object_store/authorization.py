"""Decide whether a caller may do what a request asks: every part is checked, in one transaction.

If a policy depends on data that is not loaded yet (the tags of an existing object, the content of a document), the data
is loaded and the whole decision is repeated.
"""

from typing import Any, Final

from stead_controller.authorization.evaluate import Policies
from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest, NotAuthorized, NotFound
from stead_controller.object_store import addressing, answers, condition_keys, tagging
from stead_controller.object_store.access import Asker, Rights, arn_of
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask
from stead_controller.object_store.exchange import Exchange, Means
from stead_controller.object_store.forwarding import BackendRefusal, send_short
from stead_controller.object_store.operations import COPYING, Operation
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import principal_keys
from stead_controller.resources.network import vpc_endpoint_access
from stead_controller.resources.storage import buckets
from stead_controller.resources.storage.buckets import BucketFacts

_VERSIONED: Final = {
    "DeleteObject": "DeleteObjectVersion",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
    "GetObject": "GetObjectVersion",
    "GetObjectAcl": "GetObjectVersionAcl",
    "GetObjectAttributes": "GetObjectVersionAttributes",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectAcl": "PutObjectVersionAcl",
    "PutObjectTagging": "PutObjectVersionTagging",
}
# Operations that also need a permission of another operation, since they return data of the object itself.
_BESIDES: Final = {"GetObjectAttributes": "GetObject"}
# Operations that policies may allow or deny by the object's tags.
_OF_TAGGED: Final = frozenset(
    {
        "DeleteObjectTagging",
        "GetObject",
        "GetObjectAcl",
        "GetObjectAttributes",
        "GetObjectTagging",
        "HeadObject",
        "PutObjectAcl",
        "PutObjectTagging",
    }
)
# Operations that reveal a missing object only to callers that may list the bucket.
_READING: Final = frozenset({*_OF_TAGGED, *COPYING})
# Operations that a bucket's policy may allow without a signature.
_ANONYMOUS_OPERATIONS: Final = frozenset(
    {
        "GetObject",
        "GetObjectAttributes",
        "GetObjectTagging",
        "HeadBucket",
        "HeadObject",
        "ListObjects",
        "ListObjectsV2",
        "ListObjectVersions",
    }
)
# Operations for which policies may depend on the request's document.
_OF_DOCUMENT: Final = frozenset({"CreateBucket", "PutObjectTagging"})
_IN_DOCUMENT: Final = tuple(
    name.lower() for name in (condition_keys.REQUESTED_TAG, "s3:LocationConstraint", "aws:RequestTag/", "aws:TagKeys")
)
_GONE: Final = 404


class _TagsWantedError(Exception):
    """A policy depends on the tags of an object (its path on the server behind, its version), which must be read."""

    def __init__(self, path: str, version: str) -> None:
        super().__init__(path)
        self.path, self.version = path, version


class _DocumentWantedError(Exception):
    """A policy depends on the content of the request's document."""


class Authorization:
    """Authorizes requests by the policies of callers and buckets."""

    def __init__(self, means: Means, rights: Rights) -> None:
        """Take the parts."""
        self._means = means
        self._rights = rights

    async def decide(self, exchange: Exchange) -> None:
        """Raise NotAuthorized unless the caller may; NotFound, BadRequest for what cannot be authorized at all."""
        while True:
            try:
                await self._means.transactions.run(lambda tx: self._decide(tx, exchange), writes=False)
                return
            except _TagsWantedError as wanted:
                exchange.tags[wanted.path, wanted.version] = await self._tags(wanted.path, wanted.version)
            except _DocumentWantedError:
                await exchange.document()

    async def _tags(self, path: str, version: str) -> dict[str, str]:
        """Read the tags of an object; empty if the object does not exist."""
        query = [("tagging", ""), *([("versionId", version)] if version else [])]
        try:
            _, _, document = await send_short(self._means.backend, Ask("GET", path, query))
        except BackendRefusal as refusal:
            if refusal.status != _GONE:
                raise
            return {}
        return tagging.of_document(document)

    def _decide(self, tx: Transaction, exchange: Exchange) -> None:
        operation, caller, address = exchange.operation, exchange.asked, exchange.address
        assert operation is not None
        source = exchange.request.header("x-amz-copy-source")
        version = self._read_source(exchange, source) if source is not None else ""
        context = condition_keys.of_request(exchange, self._means.region)
        via = exchange.request.via
        endpoint = vpc_endpoint_access.policy_of(tx, via) if via is not None else None
        if exchange.is_anonymous:
            _check_anonymous(exchange, operation)
            exchange.asker = Asker(caller, Policies(), context, endpoint)
        else:
            context |= principal_keys.of_tags(self._rights.tags(tx, caller))
            exchange.asker = Asker(caller, self._rights.policies(tx, caller), context, endpoint)
        if exchange.is_control and not address.bucket:
            exchange.rights.require_own(operation.action, "*")
            return
        if operation.name in ("ListBuckets", "CreateBucket"):
            more = _of_document(exchange, operation.action, None)
            exchange.rights.require_own(operation.action, arn_of(address.bucket or "*"), more)
            return
        bucket = exchange.bucket = self._find(tx, exchange, address.bucket)
        _check_owner(exchange.request, "x-amz-expected-bucket-owner", bucket)
        if operation.name == "DeleteObjects":
            # Each key is authorized separately; a caller of another account must learn nothing before.
            if bucket.account_id != caller.account_id and bucket.policy is None:
                raise NotAuthorized("Access Denied", code="AccessDenied")
        else:
            self._require(exchange, operation, bucket)
        if exchange.is_control and bucket.account_id != caller.account_id:
            raise NotAuthorized("Access Denied", code="AccessDenied")
        if not bucket.is_available and operation.name != "DeleteBucket":
            raise BadRequest("The specified bucket does not exist", code="NoSuchBucket")
        if exchange.source_address is not None:
            self._decide_source(tx, exchange, exchange.source_address, version)

    def _find(self, tx: Transaction, exchange: Exchange, name: str) -> BucketFacts:
        """Return a bucket; raises NotFound, but an unsigned request does not learn which names exist."""
        try:
            return buckets.find(tx, name)
        except NotFound:
            if exchange.is_anonymous:
                raise NotAuthorized("Access Denied", code="AccessDenied") from None
            raise

    def _require(self, exchange: Exchange, operation: Operation, bucket: BucketFacts) -> None:
        """Raise NotAuthorized unless everything that a request does to its own bucket or object is allowed."""
        key, version = exchange.address.key, exchange.query.get("versionId", "")
        actions = [operation.action, *([_BESIDES[operation.name]] if operation.name in _BESIDES else [])]
        for action in [_VERSIONED.get(action, action) if version else action for action in actions]:
            more = _of_document(exchange, action, bucket)
            if operation.name in _OF_TAGGED:
                more |= _existing(exchange, action, bucket, key, version)
            exchange.rights.require(action, bucket, key, more)
        if exchange.tagging:
            exchange.rights.require("PutObjectTagging", bucket, key)
        if exchange.request.header("if-match") is not None and operation.action == "PutObject":
            # It reveals what exists: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
            exchange.rights.require("GetObject", bucket, key, _existing(exchange, "GetObject", bucket, key, ""))

    def _read_source(self, exchange: Exchange, source: str) -> str:
        """Check the copy source of a request, and return its version; raises BadRequest."""
        path, _, version = source.partition("?versionId=")
        found = addressing.read_copy_source(path)
        addressing.check_token("versionId", version)
        exchange.source_address = found
        return version

    def _decide_source(self, tx: Transaction, exchange: Exchange, source: addressing.Address, version: str) -> None:
        """Check that the caller may read the copy source."""
        bucket = exchange.source_bucket = buckets.find(tx, source.bucket)
        _check_owner(exchange.request, "x-amz-source-expected-bucket-owner", bucket)
        action = "GetObjectVersion" if version else "GetObject"
        more = {"s3:VersionId": version or None, **_existing(exchange, action, bucket, source.key, version)}
        exchange.rights.require(action, bucket, source.key, more)
        if exchange.request.header("x-amz-tagging-directive") != "REPLACE" and exchange.operation_name == "CopyObject":
            self._decide_copied_tags(exchange, bucket, source.key, version)
        exchange.source = path_of(bucket.backend_name, source.key) + (f"?versionId={version}" if version else "")

    def _decide_copied_tags(self, exchange: Exchange, bucket: BucketFacts, key: str, version: str) -> None:
        """Check that the caller may read the copied tags and set them; only if the source has tags."""
        action = "GetObjectVersionTagging" if version else "GetObjectTagging"
        try:
            exchange.rights.require(action, bucket, key, _existing(exchange, action, bucket, key, version))
            exchange.rights.require("PutObjectTagging", exchange.existing_bucket, exchange.address.key)
        except NotAuthorized:
            if _known_tags(exchange, path_of(bucket.backend_name, key), version):
                raise

    def hide_absence(self, exchange: Exchange) -> None:
        """Raise NotAuthorized if the caller may not list the bucket and would learn that an object does not exist.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, Permissions
        """
        if exchange.operation_name in _READING:
            bucket = exchange.source_bucket or exchange.existing_bucket
            exchange.rights.require("ListBucket", bucket)


def _check_anonymous(exchange: Exchange, operation: Operation) -> None:
    """Raise NotAuthorized, BadRequest for what is never allowed without a signature, whatever policies say.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, Overriding response header values
    """
    if operation.name not in _ANONYMOUS_OPERATIONS:
        raise NotAuthorized("Access Denied", code="AccessDenied")
    if any(name.startswith("response-") for name in exchange.query):
        text = "Request specific response headers cannot be used for anonymous GET requests."
        raise BadRequest(text, code="InvalidRequest")


def is_absence(error: Exception) -> bool:
    """Tell whether an error says that an object does not exist."""
    if isinstance(error, BackendRefusal):
        return error.status == _GONE and error.code in ("", "NoSuchKey", "NoSuchVersion")
    return isinstance(error, NotFound) and error.code == "NoSuchKey"


def _existing(exchange: Exchange, action: str, bucket: BucketFacts, key: str, version: str) -> dict[str, Any]:
    """Return the condition keys of an object's tags, if a policy depends on them."""
    asked = exchange.rights.keys_about(action, bucket)
    if not any(name.startswith(condition_keys.EXISTING_TAG.lower()) for name in asked):
        return {}
    return condition_keys.of_existing_tags(_known_tags(exchange, path_of(bucket.backend_name, key), version))


def _known_tags(exchange: Exchange, path: str, version: str) -> dict[str, str]:
    if (path, version) not in exchange.tags:
        raise _TagsWantedError(path, version)
    return exchange.tags[path, version]


def _of_document(exchange: Exchange, action: str, bucket: BucketFacts | None) -> dict[str, Any]:
    """Return the condition keys of a document's content, if a policy depends on them."""
    if exchange.operation_name not in _OF_DOCUMENT:
        return {}
    if not any(name.startswith(_IN_DOCUMENT) for name in exchange.rights.keys_about(action, bucket)):
        return {}
    if exchange.content is None:
        raise _DocumentWantedError
    if bucket is None:
        location, tags = answers.read_creation(exchange.content)
        return condition_keys.of_creation(location, dict(tags))
    return condition_keys.of_requested_tags(tagging.of_document(exchange.content))


def _check_owner(request: Request, header: str, bucket: BucketFacts) -> None:
    expected = request.header(header)
    if expected is not None and expected != bucket.account_id:
        raise NotAuthorized("Access Denied", code="AccessDenied")
