"""What S3 has and Stead has not: it is read as none, taken where none is asked for, and refused by name otherwise.

The codes are those that tools take for "none": `NoSuchConfiguration` and its like.
"""

from functools import partial
from typing import Final

from stead_controller.errors import BadRequest, NotFound
from stead_controller.object_store import answers
from stead_controller.object_store.exchange import Answer, Exchange, Handler, Means
from stead_controller.object_store.objects_there import require_object
from stead_controller.object_store.refused_operations import REFUSED

_LISTED: Final = ("Analytics", "IntelligentTiering", "Inventory", "Metrics")
# Documents that may be put if they ask for nothing: their roots, and the elements that ask for nothing.
_EMPTY: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "PutBucketAbac": ("AbacStatus", {"Status": "Disabled"}),
    "PutBucketLogging": ("BucketLoggingStatus", {}),
    "PutBucketNotificationConfiguration": ("NotificationConfiguration", {}),
    "PutBucketRequestPayment": ("RequestPaymentConfiguration", {"Payer": "BucketOwner"}),
}


def not_built(name: str) -> BadRequest:
    """S3's code for what it has not, with what it is."""
    return BadRequest(f"{name} is not implemented.", code="NotImplemented")


async def refuse(name: str, exchange: Exchange, means: Means) -> Answer:
    """Refuse an operation by its name."""
    del exchange, means
    raise not_built(name)


async def put_empty(name: str, exchange: Exchange, means: Means) -> Answer:
    """Take a document that asks for nothing; raises BadRequest, with the element's name, for one that asks for more."""
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
    """Answer an empty list, which has no second page."""
    del means
    if exchange.query.get("continuation-token"):
        raise BadRequest("The continuation token provided is incorrect", code="InvalidArgument")
    return Answer(body=answers.fixed(name))


async def get_absent(name: str, exchange: Exchange, means: Means) -> Answer:
    """Answer that one of the configurations, of which no bucket has any, is not there."""
    del exchange, means
    raise NotFound(name, "", message="The specified configuration does not exist.", code="NoSuchConfiguration")


async def delete_absent(exchange: Exchange, means: Means) -> Answer:
    """Remove what no bucket has, which S3 answers as if it had been there."""
    del exchange, means
    return Answer(204)


async def lock(exchange: Exchange, means: Means) -> Answer:
    """Refuse to speak of an object's lock, as S3 does in a bucket without Object Lock."""
    await require_object(exchange, means)
    raise BadRequest("Bucket is missing Object Lock Configuration", code="InvalidRequest")


async def restore(exchange: Exchange, means: Means) -> Answer:
    """Refuse to restore an object, as S3 does of one that is in no archive."""
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
