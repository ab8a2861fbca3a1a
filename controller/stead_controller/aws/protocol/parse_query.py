"""Converts form parameters such as `Filter.1.Value.2=x` to the dict of an operation's input shape.

A shape is compiled once to a closure over its members' closures. A list accepts any indices, in their numeric order:
some clients count from zero and some leave gaps, so an index is a sort key and never a size. EC2 also takes the only
value of a list without an index, as Salt and scripts write it: `Owner=self`, `Filter.1.Value=x`.

An empty string without a meaning (`protocol/empty_values.py`) is left out of EC2's parameters, and so is a structure
that contains nothing else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stead_controller.aws.protocol import scalars
from stead_controller.aws.protocol.empty_values import means_something
from stead_controller.aws.reading import Map
from stead_controller.errors import BadRequest, InvalidParameter, MissingParameter, UnknownParameter

MAX_DEPTH: Final = 32
_MAX_INDEX_DIGITS: Final = 10

Node = str | dict[str, Any]
Parser = Callable[[Node, str], Any]


def grow_tree(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nest dotted names: `a.1.b=x` becomes `{"a": {"1": {"b": "x"}}}`.

    Raises BadRequest for a name that is too deep, or that is a value and a branch at once.
    """
    root: dict[str, Any] = {}
    for name, value in fields:
        if "." not in name:
            if name in root:
                raise _conflict(name)
            root[name] = value
            continue
        steps = name.split(".", MAX_DEPTH)
        if len(steps) > MAX_DEPTH:
            raise UnknownParameter(name[:200])
        branch = root
        for step in steps[:-1]:
            child = branch.setdefault(step, {})
            if isinstance(child, str):
                raise _conflict(name)
            branch = child
        if steps[-1] in branch:
            raise _conflict(name)
        branch[steps[-1]] = value
    return root


def _conflict(name: str) -> BadRequest:
    return BadRequest(f"The parameter {name} is given as a value and as a structure", code="InvalidQueryParameter")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure: its name in the model, its parser, and whether an empty value of it is ignored."""

    key: str
    parse: Parser
    may_be_empty: bool = False


class StructureParser:
    """Parses a structure; `members` are by the names that clients send, and may be added until the first use."""

    def __init__(self, required: tuple[tuple[str, str], ...]) -> None:
        """Take the required members: the name of each in the model and in requests."""
        self.members: dict[str, Member] = {}
        self._required = required

    def __call__(self, node: Node, path: str) -> dict[str, Any]:
        """Parse a structure, and check that all required members are present."""
        parsed = self.read(node, path)
        self.check(parsed, path)
        return parsed

    def read(self, node: Node, path: str) -> dict[str, Any]:
        """Parse the members that are present; the result is empty if all of them are ignored."""
        if isinstance(node, str):
            raise InvalidParameter(f"The parameter {path} must be a structure")
        prefix = f"{path}." if path else ""
        parsed = {}
        for name, child in node.items():
            member = self.members.get(name)
            if member is None:
                raise UnknownParameter(prefix + name)
            if not member.may_be_empty:
                parsed[member.key] = member.parse(child, prefix + name)
            elif child == "":
                continue
            elif isinstance(member.parse, StructureParser):
                inner = member.parse.read(child, prefix + name)
                if inner:
                    member.parse.check(inner, prefix + name)
                    parsed[member.key] = inner
            else:
                parsed[member.key] = member.parse(child, prefix + name)
        return parsed

    def check(self, parsed: Mapping[str, Any], path: str) -> None:
        """Raise MissingParameter for a required member that is missing."""
        for key, name in self._required:
            if key not in parsed:
                raise MissingParameter(f"{path}.{name}" if path else name)


class QueryParsers:
    """Compiles and caches the parsers of one service's shapes; `ec2` selects the EC2 variant of names and lists."""

    def __init__(self, *, ec2: bool) -> None:
        """Start with an empty cache."""
        self._ec2 = ec2
        self._structures: dict[str, StructureParser] = {}

    def structure(self, shape: StructureShape) -> StructureParser:
        """Return the parser of a structure shape, compiled at the first request for it."""
        found = self._structures.get(shape.name)
        if found is None:
            found = StructureParser(self._required(shape))
            self._structures[shape.name] = found  # before its members, since shapes may be recursive
            for key, member in shape.members.items():
                may_be_empty = self._ec2 and _may_be_empty(shape, key)
                found.members[self._input_name(key, member)] = Member(key, self._compile(member), may_be_empty)
        return found

    def written(self, shape: Shape, path: Sequence[str | int]) -> str:
        """Return a path of members and indices, counted from 0, as requests write it: `Filter.1.Name`."""
        steps = []
        for step in path:
            if isinstance(shape, StructureShape):
                shape = shape.members[str(step)]
                steps.append(self._input_name(str(step), shape))
            elif isinstance(shape, ListShape):
                names = cast("Mapping[str, Any]", shape.serialization)
                shape = shape.member
                if not self._ec2 and not names.get("flattened"):
                    steps.append(cast("Mapping[str, str]", shape.serialization).get("name", "member"))
                steps.append(str(int(step) + 1))
        return ".".join(steps)

    def _required(self, shape: StructureShape) -> tuple[tuple[str, str], ...]:
        return tuple((key, self._input_name(key, shape.members[key])) for key in shape.required_members)

    def _input_name(self, key: str, member: Shape) -> str:
        names = cast("Mapping[str, str]", member.serialization)
        if not self._ec2:
            if isinstance(member, ListShape) and names.get("flattened"):
                element = cast("Mapping[str, str]", member.member.serialization)
                return element.get("name") or names.get("name", key)
            return names.get("name", key)
        if "queryName" in names:
            return names["queryName"]
        name = names.get("name", key)
        return name[0].upper() + name[1:]

    def _compile(self, shape: Shape) -> Parser:
        if isinstance(shape, StructureShape):
            return self.structure(shape)
        if isinstance(shape, ListShape):
            return self._list(shape)
        if isinstance(shape, MapShape):
            return self._map(shape)
        return scalar_parser(shape)

    def _list(self, shape: ListShape) -> Parser:
        names = cast("Mapping[str, Any]", shape.serialization)
        element = self._compile(shape.member)
        parse = partial(_parse_list, element, shape.metadata.get("max"))
        if self._ec2 and isinstance(shape.member, ListShape | MapShape | StructureShape):
            return parse
        if self._ec2:
            return partial(_parse_values, element, parse)
        if names.get("flattened"):
            return parse
        name = cast("Mapping[str, str]", shape.member.serialization).get("name", "member")
        return partial(_parse_wrapped, name, parse)

    def _map(self, shape: MapShape) -> Parser:
        key_name = cast("Mapping[str, str]", shape.key.serialization).get("name", "key")
        value_name = cast("Mapping[str, str]", shape.value.serialization).get("name", "value")
        entry = StructureParser((("key", key_name), ("value", value_name)))
        entry.members[key_name] = Member("key", self._compile(shape.key))
        entry.members[value_name] = Member("value", self._compile(shape.value))
        parse = partial(_parse_map, entry)
        if cast("Mapping[str, Any]", shape.serialization).get("flattened"):
            return parse
        return partial(_parse_wrapped, "entry", parse)


def _may_be_empty(shape: StructureShape, key: str) -> bool:
    """Tell whether an empty value of a member is ignored."""
    member = shape.members[key]
    if isinstance(member, StructureShape):
        return True
    return member.type_name == "string" and not means_something(shape.name, key)


def _parse_list(parse: Parser, most: int | None, node: Node, path: str) -> list[Any]:
    if isinstance(node, str):
        if not node:
            return []  # the query protocol's empty list
        raise InvalidParameter(f"The parameter {path} must be a list, such as {path}.1")
    ordered = {}
    for name, child in node.items():
        if not (name.isascii() and name.isdigit()) or len(name) > _MAX_INDEX_DIGITS:
            raise UnknownParameter(f"{path}.{name}")
        index = int(name)
        if index in ordered:
            raise InvalidParameter(f"The parameter {path}.{index} is given twice")
        ordered[index] = (name, child)
    if most is not None and len(ordered) > most:
        raise InvalidParameter(f"The parameter {path} may have at most {most} elements")
    return [parse(child, f"{path}.{name}") for _, (name, child) in sorted(ordered.items())]


def _parse_values(parse: Parser, parse_list: Parser, node: Node, path: str) -> list[Any]:
    return [parse(node, path)] if isinstance(node, str) and node else parse_list(node, path)


def _parse_wrapped(element: str, parse: Parser, node: Node, path: str) -> Any:
    if isinstance(node, str):
        return parse(node, path)
    if node.keys() != {element}:
        raise UnknownParameter(f"{path}.{next(name for name in node if name != element)}")
    return parse(node[element], f"{path}.{element}")


def _parse_map(parse_entry: Parser, node: Node, path: str) -> dict[str, Any]:
    entries = _parse_list(parse_entry, None, node, path)
    parsed = Map({entry["key"]: entry["value"] for entry in entries})
    if len(parsed) != len(entries):
        raise InvalidParameter(f"The parameter {path} has a key twice")
    return parsed


def scalar_parser(shape: Shape) -> Parser:
    """Return the parser of a scalar shape, with the limits of the model."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    match shape.type_name:
        case "string" | "character":
            return partial(_parse_string, low, high)
        case "integer" | "long":
            smallest, largest = scalars.INTEGER_RANGES[shape.type_name]
            lowest = smallest if low is None else int(low)
            highest = largest if high is None else int(high)
            return partial(_parse_number, scalars.integer, lowest, highest)
        case "float" | "double":
            return partial(_parse_number, scalars.floating, low, high)
        case "boolean":
            return partial(_parse_scalar, scalars.boolean)
        case "timestamp":
            return partial(_parse_scalar, scalars.timestamp)
        case "blob":
            return partial(_parse_scalar, scalars.blob)
    raise TypeError(f"{shape.name} is of the unknown type {shape.type_name}")


def _text(node: Node, path: str) -> str:
    if isinstance(node, str):
        return node
    only = node.get("1")
    if len(node) == 1 and isinstance(only, str):  # the old boto asks for a console by `InstanceId.1`
        return only
    raise UnknownParameter(f"{path}.{next(iter(node))}")


def _parse_string(low: int | None, high: int | None, node: Node, path: str) -> str:
    return scalars.check_length(_text(node, path), low, high, path)


def _parse_number(
    read: Callable[[str, str], float],
    low: float | None,
    high: float | None,
    node: Node,
    path: str,
) -> float:
    value = read(_text(node, path), path)
    scalars.check_range(value, low, high, path)
    return value


def _parse_scalar(read: Callable[[str, str], Any], node: Node, path: str) -> Any:
    return read(_text(node, path), path)
