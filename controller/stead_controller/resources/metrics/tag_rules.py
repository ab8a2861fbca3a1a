"""The rules of CloudWatch's tags."""

from collections.abc import Mapping
from typing import Final

from stead_controller.errors import InvalidParameter

MAX_TAGS: Final = 50


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise InvalidParameter unless a resource may have these tags."""
    if len(tags) > MAX_TAGS:
        raise _invalid(f"A resource may have at most {MAX_TAGS} tags.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise _invalid(f"The key or the value of the tag {key[:128]} is too long or too short.")
        if key.lower().startswith("aws:"):
            raise _invalid("Tag keys starting with aws: are reserved.")


def _invalid(message: str) -> InvalidParameter:
    return InvalidParameter(message, code="InvalidParameterValue")
