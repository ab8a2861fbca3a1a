"""Checks that an object exists, for operations on objects that are answered here."""

from typing import Final

from stead_controller.errors import NotFound
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask
from stead_controller.object_store.exchange import Exchange, Means
from stead_controller.object_store.forwarding import BackendRefusal, send_short

_GONE: Final = 404


async def require_object(exchange: Exchange, means: Means) -> None:
    """Raise NotFound if the request names an object, or a version of it, that does not exist."""
    if not exchange.address.key:
        return
    version = exchange.query.get("versionId")
    query = [("versionId", version)] if version else []
    try:
        await send_short(
            means.backend, Ask("HEAD", path_of(exchange.existing_bucket.backend_name, exchange.address.key), query)
        )
    except BackendRefusal as refusal:
        if refusal.status != _GONE:
            raise
        if version:
            text, code = "The specified version does not exist.", "NoSuchVersion"
        else:
            text, code = "The specified key does not exist.", "NoSuchKey"
        raise NotFound("object", exchange.address.key, message=text, code=code) from None
