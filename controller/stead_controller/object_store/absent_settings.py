"""Features of S3 that Stead lacks: reads answer "none", writes of "none" are accepted, the rest is refused by name.

The error codes are those that tools understand as "none": `NoSuchConfiguration` and similar ones.
"""

from functools import partial
from typing import Final

from stead_controller.errors import BadRequest, NotFound
from stead_controller.object_store import answers
from stead_controller.object_store.exchange import Answer, Exchange, Handler, Means
from stead_controller.object_store.objects_there import require_object
from stead_controller.object_store.refused_operations import REFUSED

_LISTED: Final = ("Analytics", "IntelligentTiering", "Inventory", "Metrics")
# Documents that may be put if they request nothing: their roots, and the elements that request nothing.
_EMPTY: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "PutBucketAbac": ("AbacStatus", {"Status": "Disabled"}),
    "PutBucketLogging": ("BucketLoggingStatus", {}),
    "PutBucketNotificationConfiguration": ("NotificationConfiguration", {}),
    "PutBucketRequestPayment": ("RequestPaymentConfiguration", {"Payer": "BucketOwner"}),
}


def not_built(name: str) -> BadRequest:
    """Return S3's error for a feature that is not implemented, with the feature's name."""
    return BadRequest(f"{name} is not implemented.", code="NotImplemented")


async def refuse(name: str, exchange: Exchange, means: Means) -> Answer:
    """Refuse an operation, with its name."""
    del exchange, means
    raise not_built(name)


async def put_empty(name: str, exchange: Exchange, means: Means) -> Answer:
    """Accept a document that requests nothing; raises BadRequest, with the element's name, for any other."""
    del means
    wanted, nothing = _EMPTY[name]
    root = answers.parse(await exchange.document())
    if root.tag != wanted:
        raise answers.malformed()
    for element in root:
        if nothing.get(element.tag) != (element.text or "").strip():
            raise not_built(f"{element.tag[:80]} of {wanted}, other than {nothing.get(element.tag, 'none')},")
    if len(root) < len(nothing):
        raise answers.malformed()
    return Answer()


async def list_none(name: str, exchange: Exchange, means: Means) -> Answer:
    """Answer an empty list, which has only one page."""
    del means
    if exchange.query.get("continuation-token"):
        raise BadRequest("The continuation token provided is incorrect", code="InvalidArgument")
    return Answer(body=answers.fixed(name))


async def get_absent(name: str, exchange: Exchange, means: Means) -> Answer:
    """Answer that a configuration, of a type that no bucket has, does not exist."""
    del exchange, means
    raise NotFound(name, "", message="The specified configuration does not exist.", code="NoSuchConfiguration")


async def delete_absent(exchange: Exchange, means: Means) -> Answer:
    """Delete a configuration that no bucket has; like S3, answer as if it had existed."""
    del exchange, means
    return Answer(204)


async def lock(exchange: Exchange, means: Means) -> Answer:
    """Refuse operations on an object's lock, as S3 does in a bucket without Object Lock."""
    await require_object(exchange, means)
    raise BadRequest("Bucket is missing Object Lock Configuration", code="InvalidRequest")


async def restore(exchange: Exchange, means: Means) -> Answer:
    """Refuse to restore an object, as S3 does if the object is not in an archive."""
    await require_object(exchange, means)
    raise BadRequest("Restore is not allowed for the object's current storage class", code="InvalidObjectState")


HANDLERS: Final[dict[str, Handler]] = {
    "DeleteBucketMetadataConfiguration": delete_absent,
    "DeleteBucketMetadataTableConfiguration": delete_absent,
    "DeleteBucketReplication": delete_absent,
    "DeleteBucketWebsite": delete_absent,
    "GetObjectLegalHold": lock,
    "GetObjectRetention": lock,
    "PutBucketAccelerateConfiguration": partial(refuse, "PutBucketAccelerateConfiguration"),
    "PutObjectLegalHold": lock,
    "PutObjectRetention": lock,
    "RestoreObject": restore,
    **{name: partial(put_empty, name) for name in _EMPTY},
    **{name: partial(refuse, name) for name, _ in REFUSED.values()},
    **{f"ListBucket{kind}Configurations": partial(list_none, f"ListBucket{kind}Configurations") for kind in _LISTED},
    **{f"{verb}Bucket{kind}Configuration": partial(get_absent, kind) for verb in ("Delete", "Get") for kind in _LISTED},
}
