"""EC2's own messages for what does not exist (`catalog/nouns.py`), and for missing parameters."""

import re
from typing import Final

from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.errors import MissingParameter, NotFound, SteadError

# Parameters whose names in messages are neither the model's nor the model's with a lower-case first letter.
_NAMES: Final = {"ResourceId": "resourceIdSet", "Tag": "tagSet", "GroupDescription": "GroupDescription"}
_CAPITAL: Final = re.compile(r"(?<![A-Za-z0-9])[A-Z](?=[a-z])")


def in_words(error: SteadError) -> str:
    """Return the message of an error in EC2's words."""
    if isinstance(error, NotFound) and not error.is_worded and error.resource_type in OF_TYPE:
        return OF_TYPE[error.resource_type].not_found(error.missing) or error.message
    if isinstance(error, MissingParameter):
        return f"The request must contain the parameter {parameter_name(error.name)}"
    return error.message


def parameter_name(name: str) -> str:
    """Return a parameter's name as EC2 writes it in messages: `SubnetId` becomes subnetId."""
    return _NAMES.get(name) or _CAPITAL.sub(lambda first: first[0].lower(), name)
