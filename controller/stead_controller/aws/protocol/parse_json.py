"""Converts a decoded JSON document to the dict of an operation's input shape; parsers are compiled once per shape."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stead_controller.aws.protocol import scalars
from stead_controller.aws.reading import Map
from stead_controller.errors import BadRequest, InvalidParameter, MissingParameter, UnknownParameter

Parser = Callable[[Any, str], Any]


def decode_document(body: bytes) -> dict[str, Any]:
    """Decode a JSON object; an empty body is an empty object; raises BadRequest."""
    if not body:
        return {}
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not a JSON document", code="SerializationException") from None
    if not isinstance(document, dict):
        raise BadRequest("The body is not a JSON object", code="SerializationException")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are not JSON


def written(shape: Shape, path: Sequence[str | int]) -> str:
    """Return a path of members and indices as in documents, without the indices: `PolicyDetails.Schedules.Name`."""
    steps = []
    for step in path:
        if isinstance(shape, StructureShape):
            shape = shape.members[str(step)]
            steps.append(cast("Mapping[str, str]", shape.serialization).get("name", str(step)))
        elif isinstance(shape, ListShape):
            shape = shape.member
    return ".".join(steps)


class JsonParsers:
    """Compiles and caches the parsers of one service's shapes."""

    def __init__(self) -> None:
        """Start with an empty cache."""
        self._structures: dict[str, Parser] = {}

    def structure(self, shape: StructureShape) -> Parser:
        """Return the parser of a structure, compiled at the first request; members outside of the body are left out."""
        found = self._structures.get(shape.name)
        if found is None:
            members: dict[str, tuple[str, Parser]] = {}
            body_members = {
                key: member
                for key, member in shape.members.items()
                if not cast("Mapping[str, str]", member.serialization).get("location")
            }
            required = tuple(key for key in shape.required_members if key in body_members)
            found = partial(_parse_structure, members, required)
            self._structures[shape.name] = found  # before its members, since shapes may be recursive
            for key, member in body_members.items():
                name = cast("Mapping[str, str]", member.serialization).get("name", key)
                members[name] = (key, self._compile(member))
        return found

    def _compile(self, shape: Shape) -> Parser:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if isinstance(shape, StructureShape):
            return self.structure(shape)
        if isinstance(shape, ListShape):
            return partial(_parse_list, self._compile(shape.member), high)
        if isinstance(shape, MapShape):
            return partial(_parse_map, self._compile(shape.value))
        match shape.type_name:
            case "string" | "character":
                return partial(_parse_string, low, high)
            case "integer" | "long":
                smallest, largest = scalars.INTEGER_RANGES[shape.type_name]
                return partial(_parse_integer, smallest if low is None else low, largest if high is None else high)
            case "float" | "double":
                return partial(_parse_float, low, high)
            case "boolean":
                return _parse_boolean
            case "timestamp":
                return _parse_timestamp
            case "blob":
                return _parse_blob
        raise TypeError(f"{shape.name} is of the unknown type {shape.type_name}")


def _parse_structure(
    members: dict[str, tuple[str, Parser]],
    required: tuple[str, ...],
    value: Any,
    path: str,
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidParameter(f"The parameter {path} must be a structure")
    prefix = f"{path}." if path else ""
    parsed = {}
    for name, child in value.items():
        found = members.get(name)
        if found is None:
            raise UnknownParameter(prefix + name[:100])
        if child is not None:
            key, parse = found
            parsed[key] = parse(child, prefix + name)
    for key in required:
        if key not in parsed:
            raise MissingParameter(prefix + key)
    return parsed


def _parse_list(parse: Parser, most: int | None, value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidParameter(f"The parameter {path} must be a list")
    if most is not None and len(value) > most:
        raise InvalidParameter(f"The parameter {path} may have at most {most} elements")
    return [parse(child, path) for child in value]


def _parse_map(parse: Parser, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidParameter(f"The parameter {path} must be a map")
    return Map({key: parse(child, f"{path}.{key[:100]}") for key, child in value.items()})


def _parse_string(low: int | None, high: int | None, value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidParameter(f"The parameter {path} must be a string")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidParameter(f"The parameter {path} is not Unicode text")
    return scalars.check_length(value, low, high, path)


def _parse_integer(low: int, high: int, value: Any, path: str) -> int:
    if type(value) is not int:
        raise InvalidParameter(f"The parameter {path} must be an integer")
    scalars.check_range(value, low, high, path)
    return value


def _parse_float(low: float | None, high: float | None, value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise InvalidParameter(f"The parameter {path} must be a number")
    scalars.check_range(value, low, high, path)
    return float(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _parse_boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidParameter(f"The parameter {path} must be true or false")
    return value


def _parse_timestamp(value: Any, path: str) -> datetime:
    if isinstance(value, str):
        return scalars.timestamp(value, path)
    try:
        return datetime.fromtimestamp(_parse_float(None, None, value, path), UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidParameter(f"The parameter {path} is no time") from None


def _parse_blob(value: Any, path: str) -> bytes:
    if isinstance(value, bytes):  # of CBOR
        return value
    return scalars.blob(_parse_string(None, None, value, path), path)
