"""Tags of objects, in the form of a header and of documents.

Pure. https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, API_PutObjectTagging.html there.
"""

from typing import Final
from urllib.parse import quote, urlencode

from stead_controller.aws.protocol.form import decode_form
from stead_controller.errors import BadRequest
from stead_controller.object_store import answers

HEADER: Final = "x-amz-tagging"

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html; lengths are in characters
_MOST: Final = 10
_MOST_KEY: Final = 128
_MOST_VALUE: Final = 256


def of_header(text: str) -> dict[str, str]:
    """Parse a header's `a=b&c=d`; raises BadRequest, also for a repeated key, whose value would be ambiguous."""
    try:
        fields = decode_form(text) if text.isascii() and text.isprintable() else None
    except BadRequest:
        fields = None
    if fields is None or len(dict(fields)) != len(fields):
        raise BadRequest(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates.",
            code="InvalidArgument",
        )
    _check(fields)
    return dict(fields)


def header(tags: dict[str, str]) -> str:
    """Write tags in the canonical form of the header."""
    return urlencode(tags, quote_via=quote, safe="")


def of_document(document: bytes) -> dict[str, str]:
    """Parse a Tagging document; raises BadRequest."""
    root = answers.parse(document)
    found = [(tag.findtext("Key", ""), tag.findtext("Value", "")) for tag in root.findall("TagSet/Tag")]
    if root.tag != "Tagging" or len(dict(found)) != len(found):
        raise BadRequest("Cannot provide multiple Tags with the same key", code="InvalidTag")
    return dict(found)


def _check(tags: list[tuple[str, str]]) -> None:
    """Raise BadRequest for more or longer tags than objects may have."""
    if len(tags) > _MOST:
        raise BadRequest(f"Object tags cannot be greater than {_MOST}", code="BadRequest")
    for key, value in tags:
        if not 1 <= len(key) <= _MOST_KEY:
            raise BadRequest("The TagKey you have provided is invalid", code="InvalidTag")
        if len(value) > _MOST_VALUE:
            raise BadRequest("The TagValue you have provided is invalid", code="InvalidTag")
