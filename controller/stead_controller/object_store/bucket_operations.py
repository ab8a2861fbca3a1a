"""Operations on buckets that are answered here, from the buckets' rows."""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from stead_controller.errors import AlreadyExists, BadRequest, InUse, NotAuthorized
from stead_controller.object_store import absent_settings, answers, bucket_settings, condition_keys, recording, versions
from stead_controller.object_store.access import arn_of
from stead_controller.object_store.addressing import check_bucket_name, check_key, check_token, path_of
from stead_controller.object_store.backend import Ask
from stead_controller.object_store.exchange import Answer, Exchange, Handler, Means
from stead_controller.object_store.forwarding import BackendRefusal, send_short
from stead_controller.object_store.objects_there import require_object
from stead_controller.resources.storage import buckets

_MOST_LISTED: Final = 10_000
_GONE: Final = 404
_OWN: Final = "BucketAlreadyOwnedByYou"
_ALLOWS_AGAIN: Final = (
    "us-east-1"  # S3's first region: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
)
_AT_ONCE: Final = 50  # decisions


async def list_buckets(exchange: Exchange, means: Means) -> Answer:
    """Answer the account's own buckets."""
    limit = _number(exchange.query.get("max-buckets"), "max-buckets", _MOST_LISTED)
    prefix = exchange.query.get("prefix", "")
    after = _after(exchange.query.get("continuation-token", ""))
    if exchange.query.get("bucket-region", means.region) != means.region:
        return Answer(body=answers.buckets([], exchange.asked.account_id, prefix=prefix, token=""))
    found = await means.transactions.run(
        lambda tx: buckets.list_own(tx, exchange.asked, prefix=prefix, after=after, limit=limit + 1), writes=False
    )
    token = base64.urlsafe_b64encode(found[limit - 1].name.encode()).decode() if len(found) > limit else ""
    return Answer(body=answers.buckets(found[:limit], exchange.asked.account_id, prefix=prefix, token=token))


def _after(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode("ascii")).decode("ascii")
    except (ValueError, binascii.Error):
        raise BadRequest("The continuation token provided is incorrect", code="InvalidArgument") from None


def _number(text: str | None, name: str, most: int) -> int:
    if text is None:
        return most
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise BadRequest(f"Argument {name} must be an integer between 1 and {most}", code="InvalidArgument")
    return int(text)


async def create_bucket(exchange: Exchange, means: Means) -> Answer:
    """Make a bucket: first its row, then the bucket on the server behind, then it becomes available."""
    name = exchange.address.bucket
    check_bucket_name(name)
    if (exchange.request.header("x-amz-bucket-object-lock-enabled") or "false").lower() != "false":
        raise BadRequest("Object Lock is not implemented.", code="NotImplemented")
    bucket_settings.check_ownership(exchange.request.header("x-amz-object-ownership"))
    wanted, tags = answers.read_creation(await exchange.document())
    if tags:
        exchange.rights.require_own("TagResource", arn_of(name), condition_keys.of_creation("", dict(tags)))
    if wanted and wanted != means.region and not (wanted == "EU" and means.region == "eu-west-1"):
        text = f"The {wanted} location constraint is incompatible for the region of this endpoint, {means.region}."
        raise BadRequest(text, code="IllegalLocationConstraintException")
    try:
        bucket = await means.transactions.run(lambda tx: buckets.claim(tx, exchange.asked, name, exchange.now))
    except AlreadyExists as refusal:
        if tags or means.region != _ALLOWS_AGAIN or refusal.code != _OWN:
            raise
        return Answer(headers={"Location": f"/{name}"})
    try:
        await send_short(means.backend, Ask("PUT", path_of(bucket.backend_name)))
    except BackendRefusal as refusal:
        if refusal.code != _OWN:  # it is ours: an earlier attempt got this far
            raise
    if tags:
        await _tag_new(means, bucket, tags, exchange.now)
    await means.transactions.run(lambda tx: buckets.made(tx, bucket))
    return Answer(headers={"Location": f"/{name}"})


async def _tag_new(means: Means, bucket: buckets.BucketFacts, tags: list[tuple[str, str]], now: datetime) -> None:
    """Tag a bucket just made on the server behind; if the tags are refused, remove the bucket."""
    path = path_of(bucket.backend_name)
    try:
        await send_short(means.backend, Ask("PUT", path, [("tagging", "")], body=answers.tagging(tags)))
    except BackendRefusal:
        await send_short(means.backend, Ask("DELETE", path))
        await means.transactions.run(lambda tx: buckets.forget(tx, bucket, now))
        raise


async def delete_bucket(exchange: Exchange, means: Means) -> Answer:
    """Remove an empty bucket: first on the server behind, then its row."""
    path = path_of(exchange.existing_bucket.backend_name)
    try:
        # SeaweedFS would consider a bucket empty that has only noncurrent versions.
        _, _, listed = await send_short(means.backend, Ask("GET", path, [("versions", ""), ("max-keys", "1")]))
        if answers.has_versions(listed):
            text = "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
            raise InUse(text, code="BucketNotEmpty")
        await send_short(means.backend, Ask("DELETE", path))
    except BackendRefusal as refusal:
        if refusal.status != _GONE:
            raise
    await means.transactions.run(lambda tx: buckets.forget(tx, exchange.existing_bucket, exchange.now))
    return Answer(204)


async def head_bucket(exchange: Exchange, means: Means) -> Answer:
    """Answer that the bucket exists."""
    del exchange
    return Answer(headers={"x-amz-bucket-region": means.region, "Content-Type": "application/xml"})


async def get_location(exchange: Exchange, means: Means) -> Answer:
    """Answer the region, which is the same for all buckets."""
    del exchange
    return Answer(body=answers.location(means.region))


async def get_acl(exchange: Exchange, means: Means) -> Answer:
    """Answer the only ACL there is; for an object, only if it exists."""
    await require_object(exchange, means)
    return Answer(body=answers.access_control(exchange.existing_bucket.account_id))


async def put_acl(exchange: Exchange, means: Means) -> Answer:
    """Accept the ACL that always applies; others are refused, since every bucket enforces that its owner owns all.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
    """
    if await exchange.document() or exchange.request.header("x-amz-acl") is None:
        raise BadRequest("The bucket does not allow ACLs", code="AccessControlListNotSupported")
    await require_object(exchange, means)
    return Answer()


async def delete_objects(exchange: Exchange, means: Means) -> Answer:
    """Remove many objects; keys that the caller may not remove are answered as errors, the others are removed."""
    keys, quiet = answers.read_delete(await exchange.document())
    exchange.noted.update(recording.deletion([(key, version) for key, version, _ in keys]))
    named = next((version for _, version, _ in keys if version not in ("", "null")), "")
    is_unversioned = await versions.has_none(means.backend, exchange.existing_bucket, named)
    refused: list[tuple[str, str, str, str]] = []
    allowed: list[tuple[str, str]] = []
    for number, (key, version, condition) in enumerate(keys, 1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)  # so that other requests are served meanwhile
        action = "DeleteObjectVersion" if version else "DeleteObject"
        try:
            check_key(key)
            check_token("VersionId", version)
            _check_condition(condition)
            exchange.rights.require(action, exchange.existing_bucket, key, {"s3:VersionId": version or None})
            if is_unversioned and version not in ("", "null"):
                raise versions.wrong()
        except (BadRequest, NotAuthorized) as error:
            refused.append((key, version, error.code or "AccessDenied", error.message))
        else:
            allowed.append((key, version))
    exchange.noted["delete"]["refused"] = len(refused)
    document = b""
    if allowed:
        body = answers.write_delete(allowed, quiet=quiet)
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        path = path_of(exchange.existing_bucket.backend_name)
        headers = {"content-md5": digest, "content-type": "application/xml"}
        _, _, document = await send_short(means.backend, Ask("POST", path, [("delete", "")], headers, body))
    return Answer(body=answers.join_deleted(document, refused))


def _check_condition(condition: str) -> None:
    if condition:  # otherwise an object could be removed that is not in the state that the client assumes
        raise BadRequest(f"The condition {condition} is not implemented.", code="NotImplemented")


async def _fixed(operation: str, exchange: Exchange, means: Means) -> Answer:
    del exchange, means
    return Answer(body=answers.fixed(operation))


HANDLERS: Final[Mapping[str, Handler]] = {
    "CreateBucket": create_bucket,
    "DeleteBucket": delete_bucket,
    "DeleteObjects": delete_objects,
    "GetBucketAcl": get_acl,
    "GetBucketLocation": get_location,
    "GetObjectAcl": get_acl,
    "HeadBucket": head_bucket,
    "ListBuckets": list_buckets,
    "PutBucketAcl": put_acl,
    "PutObjectAcl": put_acl,
    **{name: partial(_fixed, name) for name in answers.SAME_FOR_ALL},
    **absent_settings.HANDLERS,
    **bucket_settings.HANDLERS,
}
