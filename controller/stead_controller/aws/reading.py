"""What an operation has read of its request: whatever it has not read would be accepted without effect.

An operation is given its parameters as a `Reading`. A member counts as read when it is looked up by its name; a
structure and a list of structures do so when each of their members is. Everything that walks over a request as a
whole, such as the digest behind a ClientToken, reads nothing; what only decides who may ask, how often, and what is
recorded is given the plain parameters.
"""

from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


class Map(dict[str, Any]):
    """A map of the model, whose keys are the caller's: one value to whoever reads it."""

    __slots__ = ()


class Reading(dict[str, Any]):
    """A structure of a request that notes which of its members were looked up.

    Its members are wrapped when they are looked up, so that what nobody looks at costs nothing.
    """

    __slots__ = ("unread",)

    def __init__(self, given: dict[str, Any]) -> None:
        """Start with nothing read; `given` is not changed."""
        super().__init__(given)
        self.unread = set(given)

    def __getitem__(self, name: str) -> Any:
        """Look a member up; raises KeyError when the request has it not."""
        return self._read(name) if name in self.unread else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Look a member up; `default` when the request has it not."""
        return self._read(name) if name in self.unread else super().get(name, default)

    def _read(self, name: str) -> Any:
        self.unread.discard(name)
        value = super().__getitem__(name)
        kind = type(value)
        if kind is dict or kind is list:
            value = _wrap(value)
            self[name] = value
        return value


def _wrap(value: Any) -> Any:
    if type(value) is dict:
        return Reading(value)
    if type(value) is list and value and type(value[0]) in (dict, list):
        return [_wrap(one) for one in value]
    return value


def whole(value: Any) -> Any:
    """Read everything in a structure, for what is stored and answered as it came."""
    if isinstance(value, Reading):
        return {name: whole(value[name]) for name in value}
    return [whole(one) for one in value] if isinstance(value, list) else value


def unread(params: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give what has not been read: the path to each value, with indices from 0 in lists of structures, and the value.

    A structure that nobody looked up counts by its values, so an empty one does not.
    """
    if isinstance(params, dict):
        left = params.unread if isinstance(params, Reading) else params
        for name, value in params.items():
            if name not in left:
                if isinstance(value, Reading | list):
                    yield from unread(value, (*path, name))
            elif not _is_nested(value):
                yield (*path, name), value
            else:
                yield from unread(value, (*path, name))
    elif _is_nested(params):
        for index, one in enumerate(params):
            yield from unread(one, (*path, index))


def _is_nested(value: Any) -> bool:
    if type(value) is list:
        return not value or isinstance(value[0], dict | list)
    return isinstance(value, dict) and (type(value) is not Map or not value)
