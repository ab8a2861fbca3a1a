"""Cross-origin requests from browsers: which parts of an answer a page may see, and what it may request.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html; the requests: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import contextlib
from typing import Final

from stead_controller.aws.protocol.message import Request
from stead_controller.errors import BadRequest, NotFound
from stead_controller.object_store import addressing, cors
from stead_controller.object_store.exchange import Answer, Exchange, Means
from stead_controller.resources.storage import buckets

ASKING: Final = "OPTIONS"

_ORIGIN: Final = "origin"
_METHOD: Final = "access-control-request-method"
_HEADERS: Final = "access-control-request-headers"
_REFUSED: Final = "AccessForbidden"


async def look_up(exchange: Exchange, means: Means, domain: str | tuple[str, ...]) -> None:
    """Determine the CORS headers of the answer to a browser; a bucket that does not exist has none."""
    request = exchange.request
    origin = request.header(_ORIGIN)
    if origin is None:
        return
    with contextlib.suppress(BadRequest, NotFound):  # the request is answered with the error later
        address = addressing.read_address(request.header("host") or "", request.path, domain)
        if address.bucket:
            found = await means.transactions.run(lambda tx: buckets.find(tx, address.bucket), writes=False)
            rules = cors.read(found.cors.encode()) if found.cors is not None else ()
            exchange.has_cors = bool(rules)
            method = request.header(_METHOD) if request.method == ASKING else request.method
            exchange.cross_origin = cors.headers_for(rules, origin, method or "", _asked(request))


def _asked(request: Request) -> list[str]:
    """Return the names of the headers that a page wants to send."""
    if request.method != ASKING:
        return []
    text = request.header(_HEADERS) or ""
    return [name.strip() for name in text.split(",") if name.strip()]


def answer(exchange: Exchange) -> Answer:
    """Answer a preflight request; raises BadRequest if no rule of the bucket allows it."""
    request = exchange.request
    if request.header(_ORIGIN) is None:
        raise BadRequest("Insufficient information. Origin request header needed.", code="BadRequest")
    if request.header(_METHOD) is None:
        raise BadRequest("Invalid Access-Control-Request-Method: null", code="BadRequest")
    if exchange.cross_origin:
        return Answer()
    if not exchange.has_cors:
        raise BadRequest("CORSResponse: CORS is not enabled for this bucket.", code=_REFUSED)
    raise BadRequest(
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request "
        "method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the "
        "resource's CORS spec.",
        code=_REFUSED,
    )
