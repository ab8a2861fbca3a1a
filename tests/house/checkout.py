"""The checkout becomes lists of our own files and of what stands in them, for the house tests."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP_FOLDERS = ("controller", "agent", "proto", "cli", "images", "ansible", "tests", "examples", "docs")
_NOT_OURS = {".git", ".venv", ".hypothesis", "__pycache__", "node_modules", "build"}


@cache
def our_files() -> tuple[Path, ...]:
    """All files of the checkout that a person wrote, in order: no caches, no generated code."""
    return tuple(path for path in sorted(_walk(ROOT)) if not is_generated(path))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in _NOT_OURS or (path.name.startswith(".") and path.name.endswith("_cache")):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        elif path.is_file():
            yield path


def is_generated(path: Path) -> bool:
    """Tell protoc's output from ours."""
    return path.stem.endswith(("_pb2", "_pb2_grpc"))


@cache
def python_files() -> tuple[Path, ...]:
    """Our Python files, in order."""
    return tuple(path for path in our_files() if path.suffix == ".py")


@cache
def text_of(path: Path) -> str | None:
    """A file's text, or None for one that is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@cache
def tree_of(path: Path) -> ast.Module:
    """A Python file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a Python file's syntax tree: walking through it takes longer than what is then looked for."""
    return tuple(ast.walk(tree_of(path)))


@dataclass(frozen=True)
class Comment:
    """One comment of a Python file."""

    path: Path
    line: int
    text: str

    @property
    def place(self) -> str:
        """Where it stands, as editors read it."""
        return f"{name_of(self.path)}:{self.line}"


@cache
def comments() -> tuple[Comment, ...]:
    """Every comment of our Python files; strings that look like comments are none."""
    found: list[Comment] = []
    for path in python_files():
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        found += [Comment(path, token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    return tuple(found)


def forget() -> None:
    """Drop the cached contents of files; whoever asks again has it read again."""
    for stored in (text_of, tree_of, nodes_of, comments, _comment_lines):
        stored.cache_clear()


@cache
def _comment_lines() -> dict[Path, list[int]]:
    lines: dict[Path, list[int]] = {}
    for comment in comments():
        lines.setdefault(comment.path, []).append(comment.line)
    return lines


def has_comment(path: Path, first: int, last: int) -> bool:
    """Tell whether a comment stands in these lines of a Python file, both included."""
    return any(first <= line <= last for line in _comment_lines().get(path, ()))


def name_of(path: Path) -> str:
    """A file's path as seen from the root of the checkout."""
    return str(path.relative_to(ROOT))


def complain(rule: str, offences: list[str]) -> None:
    """Fail with the rule, its reason and each offence on a line of its own; pass when there is none."""
    assert not offences, f"{rule}\n  " + "\n  ".join(offences)
