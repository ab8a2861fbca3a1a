"""Random values of botocore's shapes, for tests in which botocore serialises what we parse and parses what we write."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import strategies as st

# Characters that XML 1.0 preserves.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r&<>\"'%+= ~"),
    max_size=20,
)
TIMES = st.integers(-(10**12), 4 * 10**12).map(lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
MAX_DEPTH = 5


def values(shape: Any, *, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a shape, within its limits; no structure, list, map or string is empty."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    match shape.type_name:
        case "structure":
            return structures(shape, depth=depth)
        case "list":
            return st.lists(values(shape.member, depth=depth + 1), min_size=1, max_size=min(3, high or 3))
        case "map":
            return st.dictionaries(
                values(shape.key).filter(bool), values(shape.value, depth=depth + 1), min_size=1, max_size=3
            )
        case "string" | "character":
            if shape.enum:
                return st.sampled_from(shape.enum)
            size = min(high or 20, max(20, low or 0))
            return TEXT.map(lambda text: (text + "x" * max(low or 0, not text))[:size])
        case "integer":
            return st.integers(-(2**31) if low is None else low, 2**31 - 1 if high is None else high)
        case "long":
            return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
        case "float" | "double":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return TIMES
        case "blob":
            return st.binary(max_size=20)
    raise AssertionError(shape.type_name)


def structures(shape: StructureShape, *, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Dicts with the required members and some of the others."""
    usable = {name: member for name, member in shape.members.items() if is_usable(member, depth + 1)}
    required = {name for name in shape.required_members if name in usable}
    optional = sorted(usable.keys() - required)

    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        chosen = set(required)
        if optional:
            least = 0 if required else 1
            chosen |= set(draw(st.lists(st.sampled_from(optional), min_size=least, max_size=4, unique=True)))
        return {name: draw(values(usable[name], depth=depth + 1)) for name in sorted(chosen)}

    return build()


def is_usable(shape: Shape, depth: int) -> bool:
    """Tell whether a non-empty value of this shape is possible."""
    if depth > MAX_DEPTH:
        return not isinstance(shape, (StructureShape, ListShape, MapShape))
    if isinstance(shape, StructureShape):
        return any(is_usable(member, depth + 1) for member in shape.members.values()) and all(
            is_usable(shape.members[name], depth + 1) for name in shape.required_members
        )
    if isinstance(shape, ListShape):
        return is_usable(shape.member, depth + 1)
    if isinstance(shape, MapShape):
        return is_usable(shape.value, depth + 1)
    return True


def full(shape: Any, depth: int = 0) -> Any:
    """One value with all members, down to the maximum depth."""
    match shape.type_name:
        case "structure":
            return {
                name: full(member, depth + 1) for name, member in shape.members.items() if is_usable(member, depth + 1)
            }
        case "list":
            size = min(max(2, shape.metadata.get("min", 0)), shape.metadata.get("max", 2))
            return [full(shape.member, depth + 1)] * size
        case "map":
            return {"a key": full(shape.value, depth + 1)}
        case "string" | "character":
            return (
                shape.enum[0]
                if shape.enum
                else "a & b <c>".ljust(shape.metadata.get("min", 0), "x")[: shape.metadata.get("max", 10**6)]
            )
        case "integer" | "long":
            return math.ceil(shape.metadata.get("min", 3))
        case "float" | "double":
            return float(shape.metadata.get("min", 2.5))
        case "boolean":
            return True
        case "timestamp":
            return datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
        case "blob":
            return b"\x00\xff blob"
    raise AssertionError(shape.type_name)
