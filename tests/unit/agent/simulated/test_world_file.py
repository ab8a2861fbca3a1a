"""A simulated host's objects outlive its process, and a save costs as much as what has changed."""

import pickle
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.simulated.world_file import WorldFile, read


@dataclass
class Thing:
    """Something that is changed where it is."""

    size: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that never changes."""

    name: str
    inner: tuple["Part", ...] = ()


@dataclass
class Objects:
    """What there is."""

    name: str = ""
    things: dict[str, Thing] = field(default_factory=dict)
    waste: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)


def _read(path: Path) -> Objects:
    return read(path, Objects())


def test_a_save_writes_what_has_changed_alone(tmp_path: Path) -> None:
    file = WorldFile(tmp_path / "world", Objects())
    file.objects.things = {f"i-{number}": Thing(number, f"{number:01000}") for number in range(200)}
    file.save()
    before = (tmp_path / "world").stat().st_size
    assert before > 200_000
    file.objects.things["i-7"].size = 70
    file.save()
    file.save()
    assert (tmp_path / "world").stat().st_size - before < 3000
    assert _read(tmp_path / "world").things["i-7"].size == 70


def test_parts_of_parts_are_read_as_they_were(tmp_path: Path) -> None:
    file = WorldFile(tmp_path / "world", Objects())
    file.objects.parts["a"] = Part("a", (Part("b"), Part("c", (Part("d"),))))
    file.save()
    again = _read(tmp_path / "world")
    assert again == file.objects
    assert hash(again.parts["a"]) == hash(file.objects.parts["a"])


def test_a_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    file = WorldFile(tmp_path / "world", Objects())
    file.objects.things["i-1"] = Thing(1)
    for number in range(300):
        file.objects.things["i-1"] = Thing(number, "x" * 10_000)
        file.save()
    assert (tmp_path / "world").stat().st_size < 1_200_000
    assert _read(tmp_path / "world").things == {"i-1": Thing(299, "x" * 10_000)}


def test_a_save_that_was_cut_off_did_not_happen(tmp_path: Path) -> None:
    path = tmp_path / "world"
    file = WorldFile(path, Objects())
    file.objects.name = "first"
    file.save()
    kept = path.read_bytes()
    file.objects.name = "second"
    file.objects.waste.append("vol-1")
    file.save()
    whole = path.read_bytes()
    for end in (len(kept) + 3, len(kept) + 9, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert _read(path) == Objects("first")
        again = WorldFile(path, Objects())
        again.objects.name = "third"
        again.save()
        assert _read(path) == Objects("third")


def test_a_reader_leaves_the_file_to_the_process_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved while another process reads is in the file afterwards."""
    path = tmp_path / "world"
    file = WorldFile(path, Objects())
    file.objects.things["i-1"] = Thing(1)
    file.save()
    loads = pickle.loads

    def loads_late(content: bytes) -> object:
        monkeypatch.undo()
        file.objects.things.clear()
        file.save()
        return loads(content)

    monkeypatch.setattr(pickle, "loads", loads_late)
    assert _read(path).things == {"i-1": Thing(1)}
    assert _read(path) == file.objects == Objects()


_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(0, 3)),
        st.tuples(st.just("grow"), st.sampled_from("abc"), st.integers(0, 3)),
        st.tuples(st.just("drop"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("waste"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("clear"), st.just(""), st.just(0)),
    ),
    max_size=12,
)


@given(_CHANGES)
def test_what_is_read_is_what_was_saved(changes: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "world"
        file = WorldFile(path, Objects())
        objects = file.objects
        for what, key, number in changes:
            match what:
                case "put":
                    objects.things[key] = Thing(number)
                case "grow" if key in objects.things:
                    objects.things[key].size += number
                case "drop":
                    objects.things.pop(key, None)
                case "waste":
                    objects.waste.append(key)
                case "clear":
                    objects.things = {}
                    objects.waste.clear()
            file.save()
            assert _read(path) == objects
