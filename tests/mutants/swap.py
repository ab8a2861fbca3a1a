"""A mutant put into the functions of a module that is loaded already, which takes no time; or the news that it cannot be."""

import gc
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final

type Trail = tuple[tuple[str, int], ...]
"""Where a code object is in its module: names from the outermost on, each with its number among its equals."""

type Place = tuple[str, int]
"""A code object's qualified name and first line."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A mutant's code for functions, and the functions of whose own lines any is another."""

    codes: list[tuple[FunctionType, CodeType]]
    changed: frozenset[Place]

    def make(self) -> None:
        """Give the functions the mutant's code, for the rest of this process."""
        for function, code in self.codes:
            function.__code__ = code


class LoadedModule:
    """The functions that one file has made in this process, wherever they are by now."""

    def __init__(self, path: Path, source: str) -> None:
        """Find them; the module must have been imported."""
        self._path = path
        self._codes: Final = _codes(compile(source, str(path), "exec", dont_inherit=True))
        trails: dict[Place, list[Trail]] = {}
        for trail, code in self._codes.items():
            trails.setdefault(place_of(code), []).append(trail)
        gc.unfreeze()  # what tests/conftest.py froze is not among the objects
        self.functions: Final = [
            each
            for each in gc.get_objects()
            if isinstance(each, FunctionType) and each.__code__.co_filename == str(path)
        ]
        self._live: dict[Trail, list[FunctionType]] = {}
        for function in self.functions:
            for trail in trails.get(place_of(function.__code__), []):
                self._live.setdefault(trail, []).append(function)
        self._doubtful: Final = {trail for found in trails.values() if len(found) > 1 for trail in found}

    def swap(self, source: str) -> Swap | None:
        """Find what a mutant changes; nothing if that is code that ran at import, or is the same as its neighbour."""
        try:
            mutated = _codes(compile(source, str(self._path), "exec", dont_inherit=True))
        except SyntaxError:
            return None
        changed = {
            trail for trail, code in self._codes.items() if trail not in mutated or not _same(code, mutated[trail])
        }
        reached = {trail[:length] for trail in changed for length in range(len(trail) + 1)}
        if reached & self._doubtful or any(self._is_plain(trail) for trail in changed):
            return None
        if any(self._live.keys().isdisjoint(trail[: n + 1] for n in range(len(trail))) for trail in changed):
            return None
        codes = [
            (each, mutated[trail])
            for trail in reached & self._live.keys()
            for each in self._live[trail]
            if trail in mutated
        ]
        if not codes or any(len(each.__code__.co_freevars) != len(code.co_freevars) for each, code in codes):
            return None
        return Swap(codes, frozenset(place_of(self._codes[trail]) for trail in reached))

    def _is_plain(self, trail: Trail) -> bool:
        return not is_function(self._codes[trail])


def place_of(code: CodeType) -> Place:
    """Say where a code object stands."""
    return code.co_qualname, code.co_firstlineno


def is_function(code: CodeType) -> bool:
    """Tell whether code is a function's, not the body of a module or class."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED)


def inner_codes(code: CodeType) -> Iterator[CodeType]:
    """Give a code object and all in it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from inner_codes(each)


def _codes(code: CodeType, trail: Trail = ()) -> dict[Trail, CodeType]:
    found = {trail: code}
    seen: dict[str, int] = {}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            seen[each.co_name] = seen.get(each.co_name, -1) + 1
            found |= _codes(each, (*trail, (each.co_name, seen[each.co_name])))
    return found


def _same(one: CodeType, other: CodeType) -> bool:
    """Tell whether two code objects do the same, apart from those in them."""
    return _own(one) == _own(other)


def _own(code: CodeType) -> tuple[object, ...]:
    consts = [(type(each), each) for each in code.co_consts if not isinstance(each, CodeType)]
    inner = sum(isinstance(each, CodeType) for each in code.co_consts)
    return code.co_code, consts, inner, code.co_names, code.co_varnames, code.co_exceptiontable
