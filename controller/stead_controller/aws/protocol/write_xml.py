"""Converts the dict of an output shape to XML text, by functions generated from the service's model.

The answer of a Describe operation has thousands of small values, and most of its cost is here. So each structure shape
becomes the source of one straight Python function, which is compiled at its first use: no dispatch on types and no walk
through the model remain. For a structure with a string, a list of structures and a timestamp it looks like

    def write_3(v, add):  # Volume
        if not keys_3.issuperset(v): raise unknown_member(v, keys_3, 'Volume')
        x = v.get('VolumeId')
        if x is not None: add(f'<volumeId>{x if not unsafe(x) else escape(x)}</volumeId>')
        x = v.get('Tags')
        if x is not None:
            add('<tagSet>')
            for x in x: add('<item>'); write_7(x, add); add('</item>')
            add('</tagSet>')
        x = v.get('CreateTime')
        if x is not None: add(f'<createTime>{timestamp_text(x)}</createTime>')

All names and tags in the source come from the model, never from a request.
"""

import re
from collections.abc import Callable, Mapping
from itertools import count
from threading import Lock
from typing import Any, Final, cast

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stead_controller.aws.protocol import scalars

Add = Callable[[str], None]
Writer = Callable[[Mapping[str, Any], Add], None]

# What XML 1.0 forbids cannot be written at all, not even as a reference; a carriage return would become a newline.
_FORBIDDEN: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_UNSAFE: Final = re.compile(f"[&<>\r{_FORBIDDEN}]")
_REFERENCES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_SCALARS: Final = {
    "string": "x if not unsafe(x) else escape(x)",
    "character": "x if not unsafe(x) else escape(x)",
    "integer": "integer_text(x)",
    "long": "integer_text(x)",
    "float": "float_text(x)",
    "double": "float_text(x)",
    "boolean": "boolean_text(x)",
    "timestamp": "timestamp_text(x)",
    "blob": "blob_text(x)",
}
_TAG: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


def escape(text: str) -> str:
    """Escape text for use between two tags; characters that XML cannot represent become U+FFFD."""
    return _UNSAFE.sub(lambda found: _REFERENCES.get(found[0], "\N{REPLACEMENT CHARACTER}"), text)


def _unknown_member(value: Mapping[str, Any], known: frozenset[str], shape_name: str) -> TypeError:
    return TypeError(f"{shape_name} has no member {', '.join(sorted(set(value) - known))}")


class XmlWriters:
    """Compiles and caches the writers of one service's shapes; `ec2` selects the EC2 variant of lists."""

    def __init__(self, *, ec2: bool) -> None:
        """Start with an empty cache."""
        self._ec2 = ec2
        self._lock = Lock()
        self._numbers = count()
        self._names: dict[str, str] = {}
        self._functions: dict[str, Any] = {
            "unsafe": _UNSAFE.search,
            "escape": escape,
            "unknown_member": _unknown_member,
            "integer_text": scalars.integer_text,
            "float_text": scalars.float_text,
            "boolean_text": scalars.boolean_text,
            "timestamp_text": scalars.timestamp_text,
            "blob_text": scalars.blob_text,
        }

    def structure(self, shape: StructureShape) -> Writer:
        """Return the writer of a structure shape's members, compiled with its dependencies at the first request for it.

        If two threads ask for it at once, the second waits until it is complete.
        """
        with self._lock:
            return cast("Writer", self._functions[self._function_name(shape)])

    def _function_name(self, shape: StructureShape) -> str:
        known = self._names.get(shape.name)
        if known is not None:
            return known
        number = next(self._numbers)
        name = self._names[shape.name] = f"write_{number}"  # before its members, since shapes may be recursive
        keys = f"keys_{number}"
        lines = [
            f"def {name}(v, add):",
            f"    if not {keys}.issuperset(v): raise unknown_member(v, {keys}, {shape.name!r})",
        ]
        for key, member in shape.members.items():
            lines.append(f"    x = v.get({key!r})")
            lines.append("    if x is not None:")
            lines += [f"        {line}" for line in self._member(key, member)]
        self._functions[keys] = frozenset(shape.members)
        source = "\n".join(lines)
        exec(compile(source, f"<writer of {shape.name}>", "exec"), self._functions)  # noqa: S102 — made from the model
        return name

    def _member(self, key: str, member: Shape) -> list[str]:
        names = cast("Mapping[str, Any]", member.serialization)
        if names.get("xmlAttribute"):
            raise NotImplementedError(f"{key} is an XML attribute")
        tag = names.get("name", key)
        if names.get("flattened"):
            if isinstance(member, ListShape):
                element = cast("Mapping[str, str]", member.member.serialization).get("name", tag)
                return _for_each("x", self._element(element, member.member))
            if isinstance(member, MapShape):
                return self._entries(member, tag)
        return self._element(tag, member)

    def _element(self, tag: str, shape: Shape) -> list[str]:
        """Return statements that write variable `x` as an element."""
        if not _TAG.match(tag):
            raise ValueError(f"{tag!r} is no name of an XML element")
        if isinstance(shape, StructureShape):
            inner = [f"{self._function_name(shape)}(x, add)"]
        elif isinstance(shape, ListShape):
            default = "item" if self._ec2 else "member"
            element = cast("Mapping[str, str]", shape.member.serialization).get("name", default)
            inner = _for_each("x", self._element(element, shape.member))
        elif isinstance(shape, MapShape):
            inner = self._entries(shape, "entry")
        else:
            return [f"add(f'<{tag}>{{{_SCALARS[shape.type_name]}}}</{tag}>')"]
        return [f"add('<{tag}>')", *inner, f"add('</{tag}>')"]

    def _entries(self, shape: MapShape, tag: str) -> list[str]:
        """Return statements that write the entries of the map in variable `x`."""
        key_name = cast("Mapping[str, str]", shape.key.serialization).get("name", "key")
        value_name = cast("Mapping[str, str]", shape.value.serialization).get("name", "value")
        return [
            "for x, y in x.items():",
            f"    add('<{tag}>')",
            *(f"    {line}" for line in self._element(key_name, shape.key)),
            "    x = y",
            *(f"    {line}" for line in self._element(value_name, shape.value)),
            f"    add('</{tag}>')",
        ]


def _for_each(items: str, body: list[str]) -> list[str]:
    return [f"for x in {items}:", *(f"    {line}" for line in body)]
