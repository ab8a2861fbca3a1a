"""Records which parameters an operation has read: accepting an unread parameter would silently ignore it.

An operation gets its parameters as a `Reading`. A member counts as read when it is looked up by its name; a structure
or a list of structures counts as read when each of its members does. Code that processes a request as a whole, such as
the digest behind a ClientToken, reads nothing; authorization, throttling and the call's record get the plain
parameters.
"""

from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


class Map(dict[str, Any]):
    """A map of the model, whose keys are chosen by the caller: it is read as one value."""

    __slots__ = ()


class Reading(dict[str, Any]):
    """A structure of a request that records which of its members were looked up.

    Its members are wrapped when they are looked up, so that unused ones cost nothing.
    """

    __slots__ = ("unread",)

    def __init__(self, given: dict[str, Any]) -> None:
        """Start with nothing read; `given` is not modified."""
        super().__init__(given)
        self.unread = set(given)

    def __getitem__(self, name: str) -> Any:
        """Look a member up; raises KeyError if the request does not have it."""
        return self._read(name) if name in self.unread else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Look a member up; return `default` if the request does not have it."""
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
    """Mark everything in a structure as read, for a value that is stored and returned unchanged."""
    if isinstance(value, Reading):
        return {name: whole(value[name]) for name in value}
    return [whole(one) for one in value] if isinstance(value, list) else value


def unread(params: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield what was not read: the path to each value, with indices from 0 in lists of structures, and the value.

    A structure that was never looked up is represented by its values, so an empty one is not yielded.
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
