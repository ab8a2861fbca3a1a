"""The objects of a simulated host in a file that outlives its process: each save appends what has changed.

A save happens at each call of a subsystem, so it must not cost as much as all that is there. The file is a row of
frames, each with its length before it; a frame that was not written to its end, since the process was killed, did not
happen. A file that has become much longer than what it says is written anew.
"""

import copy
import io
import pickle
import struct
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LENGTH: Final = struct.Struct(">Q")
_names: Final[dict[type, tuple[str, ...]]] = {}  # of the fields of dataclasses
_SLACK: Final = 1 << 20  # bytes of changes that are always kept, besides as many as all objects take


class _What(Enum):
    """What has changed: a whole field, or what a dictionary has under a key, which may be gone."""

    FIELD = "field"
    ENTRY = "entry"
    GONE = "gone"


type _Change = tuple[_What, str, Any, Any]  # the field, the key in it, and the value


class WorldFile[Objects: DataclassInstance]:
    """A dataclass of dictionaries and plain values, and what of it is in the file."""

    def __init__(self, path: Path, empty: Objects) -> None:
        """Read what an earlier process left there into `objects`, or begin with an empty one."""
        self._path = path
        self.objects = read(path, empty)
        self._names = [each.name for each in fields(empty)]
        self._known: dict[str, Any] = {}
        self._room = 0  # bytes until it is written anew
        self._write_anew()

    def save(self) -> None:
        """Write what has changed since the last save, such that it outlives the process."""
        changes = self._changes()
        if not changes:
            return
        frame = _frame(changes)
        self._room -= len(frame)
        if self._room < 0:
            self._write_anew()
            return
        with self._path.open("ab") as file:
            file.write(frame)

    def _changes(self) -> list[_Change]:
        """List what has changed, and know it from now on."""
        found: list[_Change] = []
        for name in self._names:
            value, known = getattr(self.objects, name), self._known[name]
            if not isinstance(value, dict):
                if value != known:
                    found.append((_What.FIELD, name, None, value))
                    self._known[name] = copy.copy(value)
                continue
            for key in [each for each in known if each not in value]:
                del known[key]
                found.append((_What.GONE, name, key, None))
            for key, each in value.items():
                if key not in known or (each is not known[key] and each != known[key]):
                    known[key] = copy.copy(each)
                    found.append((_What.ENTRY, name, key, each))
        return found

    def _write_anew(self) -> None:
        """Replace the file by one that says only what there is."""
        values = {name: getattr(self.objects, name) for name in self._names}
        frame = _frame([(_What.FIELD, name, None, value) for name, value in values.items()])
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(frame)
        draft.replace(self._path)
        self._room = len(frame) + _SLACK
        for name, value in values.items():
            is_many = isinstance(value, dict)
            self._known[name] = {key: copy.copy(each) for key, each in value.items()} if is_many else copy.copy(value)


def read[Objects: DataclassInstance](path: Path, empty: Objects) -> Objects:
    """Return an empty dataclass filled with what a file says, which stays as it is: its process may be writing."""
    content = path.read_bytes() if path.exists() else b""
    at = 0
    while at + _LENGTH.size <= len(content):
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        if at + length > len(content):
            break  # its process was killed in the middle of it, or is in the middle of it
        for what, name, key, value in pickle.loads(content[at : at + length]):  # noqa: S301 - written by ourselves
            _apply(empty, what, name, key, value)
        at += length
    return empty


def _apply(objects: "DataclassInstance", what: _What, name: str, key: Any, value: Any) -> None:
    match what:
        case _What.FIELD:
            setattr(objects, name, value)
        case _What.ENTRY:
            getattr(objects, name)[key] = value
        case _What.GONE:
            del getattr(objects, name)[key]


def _frame(changes: list[_Change]) -> bytes:
    body = io.BytesIO()
    _Pickler(body, pickle.HIGHEST_PROTOCOL).dump(changes)
    return _LENGTH.pack(body.tell()) + body.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles dataclasses ten times as fast as those with slots pickle themselves, of which there are thousands."""

    def reducer_override(self, obj: object) -> Any:
        """Return how a dataclass is made again."""
        names = () if isinstance(obj, type) else _names_of(type(obj))
        return (_made, (type(obj), [getattr(obj, name) for name in names])) if names else NotImplemented


def _names_of(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields; none of any other class."""
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()
    return names


def _made[Made](kind: type[Made], values: list[Any]) -> Made:
    made = object.__new__(kind)
    for name, value in zip(_names_of(kind), values, strict=True):
        object.__setattr__(made, name, value)
    return made
