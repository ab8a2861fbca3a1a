"""The words of Cost Explorer's model that a parameter may have."""

from functools import cache

from stead_controller.aws.protocol.models import load_service
from stead_controller.errors import InvalidParameter


def require(word: str, shape: str, where: str) -> str:
    """Return a word that is one of a shape of the model; raises InvalidParameter."""
    words = _words(shape)
    if word not in words:
        allowed = f"[{', '.join(words)}]"
        raise InvalidParameter(
            f"1 validation error detected: Value '{word}' at '{where}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {allowed}"
        )
    return word


@cache
def _words(shape: str) -> tuple[str, ...]:
    return tuple(getattr(load_service("ce").model.shape_for(shape), "enum", ()))
