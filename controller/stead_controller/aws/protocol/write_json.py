"""Converts the dict of an output shape to what `json.dumps` accepts; writers are compiled once per shape."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from threading import RLock
from typing import Any, cast

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stead_controller.aws.protocol import scalars

Writer = Callable[[Any], Any]


class JsonWriters:
    """Compiles and caches the writers of one service's shapes."""

    def __init__(self, *, timestamp: Writer | None = None, blob: Writer = scalars.blob_text) -> None:
        """Start with an empty cache; times and blobs are written by others where they are not JSON's."""
        self._timestamp = timestamp
        self._scalars = {**_SCALARS, "blob": blob}
        self._lock = RLock()  # a structure's members may be structures
        self._structures: dict[str, Writer] = {}

    def structure(self, shape: StructureShape) -> Writer:
        """Return the writer of a structure, compiled at the first request for it.

        If two threads ask for it at once, the second waits until it is complete.
        """
        with self._lock:
            found = self._structures.get(shape.name)
            if found is None:
                members: dict[str, tuple[str, Writer]] = {}
                found = partial(_write_structure, shape.name, members)
                self._structures[shape.name] = found  # before its members, since shapes may be recursive
                for key, member in shape.members.items():
                    name = cast("Mapping[str, str]", member.serialization).get("name", key)
                    members[key] = (name, self.value(member))
            return found

    def value(self, shape: Shape) -> Writer:
        """Return the writer of any shape."""
        if isinstance(shape, StructureShape):
            return self.structure(shape)
        if isinstance(shape, ListShape):
            return partial(_write_list, self.value(shape.member))
        if isinstance(shape, MapShape):
            return partial(_write_map, self.value(shape.value))
        if shape.type_name == "timestamp" and self._timestamp is not None:
            return self._timestamp
        if shape.type_name == "timestamp":
            textual = cast("Mapping[str, str]", shape.serialization).get("timestampFormat") == "iso8601"
            return scalars.timestamp_text if textual else _write_timestamp
        return self._scalars[shape.type_name]


def _write_structure(shape_name: str, members: dict[str, tuple[str, Writer]], value: Mapping[str, Any]) -> Any:
    written = {}
    for key, child in value.items():
        found = members.get(key)
        if found is None:
            raise TypeError(f"{shape_name} has no member {key}")
        if child is not None:
            name, write = found
            written[name] = write(child)
    return written


def _write_list(write: Writer, value: list[Any]) -> list[Any]:
    return [write(child) for child in value]


def _write_map(write: Writer, value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: write(child) for key, child in value.items()}


def _write_timestamp(value: datetime) -> float:
    if value.tzinfo is None:
        raise TypeError(f"a timestamp without time zone: {value}")
    return round(value.timestamp(), 3)


def _write_string(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a string: {value!r}")
    return value


def _write_integer(value: int) -> int:
    if type(value) is not int:
        raise TypeError(f"not an int: {value!r}")
    return value


def _write_boolean(value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"not a bool: {value!r}")
    return value


_SCALARS: dict[str, Writer] = {
    "string": _write_string,
    "character": _write_string,
    "integer": _write_integer,
    "long": _write_integer,
    "float": float,
    "double": float,
    "boolean": _write_boolean,
}
