"""Attributes of messages, as they are given and as receivers get them. Pure.

See https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter

_NAME: Final = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)\Z")
_RESERVED: Final = ("aws.", "amazon.")
_TYPE: Final = re.compile(r"(String\.Array|String|Number|Binary)(\.[A-Za-z0-9_.-]+)?\Z")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?\Z")


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute as it was given: a type, and a text or bytes."""

    data_type: str
    text: str | None = None
    content: bytes | None = None


def shown(attributes: Mapping[str, Attribute]) -> dict[str, tuple[str, str]]:
    """Return types and values of attributes as receivers get them; raises InvalidParameter, with SNS's code for it."""
    return {name: (one.data_type, _value(name, one)) for name, one in attributes.items()}


def size(attributes: Mapping[str, Attribute]) -> int:
    """Return how many bytes attributes count of a message's size: names, types and values."""
    return sum(
        len(name.encode()) + len(one.data_type.encode()) + len((one.text or "").encode()) + len(one.content or b"")
        for name, one in attributes.items()
    )


def _value(name: str, one: Attribute) -> str:
    if not _NAME.match(name) or name.lower().startswith(_RESERVED):
        raise _invalid(f"The message attribute name '{name[:256]}' is not valid.")
    kind = _TYPE.match(one.data_type)
    if kind is None:
        raise _invalid(f"The message attribute '{name}' has an invalid message attribute type.")
    if kind[1] == "Binary":
        if not one.content or one.text is not None:
            raise _invalid(f"The message attribute '{name}' of type Binary must have a BinaryValue alone.")
        return base64.b64encode(one.content).decode()
    if not one.text or one.content is not None:
        raise _invalid(f"The message attribute '{name}' of type {one.data_type} must have a StringValue alone.")
    if kind[1] == "Number" and not _NUMBER.match(one.text):
        raise _invalid(f"Could not cast message attribute '{name}' value to number.")
    if kind[1] == "String.Array":
        _check_array(name, one.text)
    return one.text


def _check_array(name: str, text: str) -> None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or any(isinstance(item, dict | list) for item in found):
        raise _invalid(f"The message attribute '{name}' of type String.Array must be a JSON array of simple values.")


def _invalid(message: str) -> InvalidParameter:
    return InvalidParameter(message, code="ParameterValueInvalid")
