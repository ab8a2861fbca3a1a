"""S3 Control: a second API for an account's buckets, signed for S3, with paths and a header of its own.

Implemented are the tags of buckets and the public access block of the account; the rest is refused by name. Clients
put the account id before the endpoint's host name; here any host name is accepted.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_AWS_S3_Control.html
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Final
from urllib.parse import unquote

from stead_controller.aws.protocol.message import Request
from stead_controller.aws.protocol.models import load_service
from stead_controller.aws.protocol.rest_json import RestJsonCodec
from stead_controller.errors import BadRequest, NotAuthorized, NotFound
from stead_controller.object_store import answers
from stead_controller.object_store.absent_settings import not_built
from stead_controller.object_store.addressing import Address, path_of
from stead_controller.object_store.backend import Ask
from stead_controller.object_store.exchange import Answer, Exchange, Means
from stead_controller.object_store.forwarding import BackendRefusal, send_short
from stead_controller.object_store.operations import Operation
from stead_controller.resources.storage import buckets

_PATH: Final = "/v20180820/"
_ACCOUNT: Final = "x-amz-account-id"
_BUCKET: Final = re.compile(r"arn:aws:s3:::([a-z0-9.-]{3,63})\Z")
_TAGS: Final = f"{_PATH}tags/"
_NONE: Final = "NoSuchTagSet"

# Operations that S3 has too, for one bucket, with the names under which calls are recorded.
_RECORDED: Final[Mapping[str, str]] = {
    f"{verb}PublicAccessBlock": f"{verb}AccountPublicAccessBlock" for verb in ("Delete", "Get", "Put")
}
_ACTIONS: Final[Mapping[str, str]] = {"DeleteAccountPublicAccessBlock": "PutAccountPublicAccessBlock"}
_TAGGING: Final = frozenset({"ListTagsForResource", "TagResource", "UntagResource"})


def is_one(request: Request) -> bool:
    """Tell whether a request belongs to S3 Control; a bucket's name may equal the first segment of its paths."""
    return request.path.startswith(_PATH) and request.header(_ACCOUNT) is not None


@cache
def _names() -> RestJsonCodec:
    """Return the codec that finds an operation by method and path; its model is loaded at the first use."""
    return RestJsonCodec(load_service("s3control"))


def locate(exchange: Exchange) -> None:
    """Determine the operation of a request, and its bucket if it has one; raises BadRequest, NotAuthorized."""
    request = exchange.request
    name = _names().operation_name(request)
    name = _RECORDED.get(name, name)
    exchange.operation = Operation(name, _ACTIONS.get(name, name), is_answered_here=True)
    exchange.is_control = True
    if name in _TAGGING:
        arn = unquote(request.path.removeprefix(_TAGS))
        match = _BUCKET.match(arn)
        if match is None:
            raise not_built(f"{name} of {arn[:80]}")
        exchange.address = Address(match[1])
    if request.header(_ACCOUNT) != exchange.asked.account_id:
        raise NotAuthorized("Access Denied", code="AccessDenied")


async def answer(exchange: Exchange, means: Means) -> Answer:
    """Answer an operation that was allowed; raises BadRequest for one that is not implemented."""
    handler = _HANDLERS.get(exchange.operation_name)
    if handler is None:
        raise not_built(f"{exchange.operation_name} of S3 Control")
    return await handler(exchange, means)


async def _list_tags(exchange: Exchange, means: Means) -> Answer:
    return Answer(body=answers.resource_tags(await _tags_of(exchange, means)))


async def _tag(exchange: Exchange, means: Means) -> Answer:
    given = answers.read_resource_tags(await exchange.document())
    await _put(exchange, means, {**dict(await _tags_of(exchange, means)), **dict(given)})
    return Answer(204)


async def _untag(exchange: Exchange, means: Means) -> Answer:
    gone = {value for name, value in exchange.request.query_fields if name == "tagKeys"}
    if not gone:
        raise BadRequest("tagKeys must name what is to be removed.", code="InvalidRequest")
    remaining = {key: value for key, value in await _tags_of(exchange, means) if key not in gone}
    await _put(exchange, means, remaining)
    return Answer(204)


async def _tags_of(exchange: Exchange, means: Means) -> list[tuple[str, str]]:
    """Read the bucket's tags, sorted by key."""
    try:
        _, _, document = await send_short(means.backend, _ask(exchange, "GET"))
    except BackendRefusal as refusal:
        if refusal.code != _NONE:
            raise
        return []
    tags = answers.parse(document).findall("TagSet/Tag")
    return sorted((tag.findtext("Key", ""), tag.findtext("Value", "")) for tag in tags)


async def _put(exchange: Exchange, means: Means, tags: Mapping[str, str]) -> None:
    if tags:
        await send_short(means.backend, _ask(exchange, "PUT", answers.tagging(sorted(tags.items()))))
    else:
        await send_short(means.backend, _ask(exchange, "DELETE"))


def _ask(exchange: Exchange, method: str, body: bytes | None = None) -> Ask:
    return Ask(method, path_of(exchange.existing_bucket.backend_name), [("tagging", "")], body=body)


async def _get_block(exchange: Exchange, means: Means) -> Answer:
    account_id = exchange.asked.account_id
    blocked = await means.transactions.run(lambda tx: buckets.account_block(tx, account_id), writes=False)
    if blocked is None:
        text = "The public access block configuration was not found"
        code = "NoSuchPublicAccessBlockConfiguration"
        raise NotFound("public access block", account_id, message=text, code=code)
    return Answer(body=answers.public_access_block(blocked))


async def _put_block(exchange: Exchange, means: Means) -> Answer:
    blocked = answers.read_public_access_block(await exchange.document())
    await means.transactions.run(lambda tx: buckets.block_account(tx, exchange.asked.account_id, blocked))
    return Answer()


async def _delete_block(exchange: Exchange, means: Means) -> Answer:
    await means.transactions.run(lambda tx: buckets.block_account(tx, exchange.asked.account_id, None))
    return Answer(204)


_HANDLERS: Final[Mapping[str, Callable[[Exchange, Means], Awaitable[Answer]]]] = {
    "DeleteAccountPublicAccessBlock": _delete_block,
    "GetAccountPublicAccessBlock": _get_block,
    "ListTagsForResource": _list_tags,
    "PutAccountPublicAccessBlock": _put_block,
    "TagResource": _tag,
    "UntagResource": _untag,
}
