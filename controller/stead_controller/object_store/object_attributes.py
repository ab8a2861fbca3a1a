"""Adds an object's checksum to GetObjectAttributes; the server behind returns it in headers only.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
"""

import re
from dataclasses import replace
from typing import Final

from stead_controller.object_store import answers
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.backend import Ask, Backend
from stead_controller.object_store.exchange import Answer, Exchange
from stead_controller.object_store.forwarding import send_short

_ASKED: Final = "x-amz-object-attributes"
_KINDS: Final = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
_END: Final = re.compile(rb"</GetObjectAttributes[A-Za-z]*>\s*\Z")


async def with_checksum(exchange: Exchange, backend: Backend, answer: Answer) -> Answer:
    """Add the checksum to an answer, if it was requested and the object has one; raises BackendRefusal."""
    asked = {each.strip() for value in exchange.request.header_values(_ASKED) for each in value.split(",")}
    end = _END.search(answer.body)
    if "Checksum" not in asked or b"<Checksum>" in answer.body or end is None:
        return answer
    version = exchange.query.get("versionId")
    path = path_of(exchange.existing_bucket.backend_name, exchange.address.key)
    query = [("versionId", version)] if version else []
    _, headers, _ = await send_short(backend, Ask("HEAD", path, query, {"x-amz-checksum-mode": "ENABLED"}))
    found = [
        (f"Checksum{kind}", headers[f"x-amz-checksum-{kind}"]) for kind in _KINDS if f"x-amz-checksum-{kind}" in headers
    ]
    if not found:
        return answer
    found.append(("ChecksumType", headers.get("x-amz-checksum-type", "FULL_OBJECT")))
    return replace(answer, body=answer.body[: end.start()] + answers.checksum(found) + answer.body[end.start() :])
