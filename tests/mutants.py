"""Which conditions of a file no test notices: each is taken out, one at a time, and the file's tests are run.

    python -m tests.mutants PATH… [--tests TEST…] [--lines FIRST-LAST]

For pure and transactional files: a mutant is in force only in the process of its tests. Those are the ones that its name
says (`unit/controller/resources/test_tags.py` of `controller/stead_controller/resources/tags.py`) and those of `--tests`.
Conditions are made true and false, comparisons turned round and moved by one, parts of `and`, `or` and of SQL's WHERE
dropped, `raise` and bare calls left out, + and - exchanged. What survives is printed; the exit code is 1 if anything did.
A survivor is a test that is missing, code that is not needed, or (seldom) another way to write the same.
"""

import argparse
import ast
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_TURNED: Final[dict[type[ast.cmpop], tuple[str, ...]]] = {
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Lt: (">=", "<="),
    ast.GtE: ("<", ">"),
    ast.Gt: ("<=", ">="),
    ast.LtE: (">", "<"),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
_OF_SQL: Final = {"where", "filter", "and_", "or_", "values", "order_by"}
_HEAVY: Final = ("pytest", "sqlalchemy.orm", "botocore.session", "hypothesis", "alembic.command", "cryptography.x509")
_GRACE_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one place written otherwise."""

    line: int
    was: str
    now: str
    source: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Give all mutants of a source, in the order of its text; a place that only types read has none."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    text = source.encode()
    for node in _code(ast.parse(source)):
        for place, now in _changes(node):
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[(place.end_lineno or place.lineno) - 1] + (place.end_col_offset or 0)
            was = text[start:end].decode()
            mutated = (text[:start] + now.encode() + text[end:]).decode()
            yield Mutant(place.lineno, " ".join(was.split()), now, mutated)


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _code(node)


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Give the places below one node that are written otherwise, and how."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield test, "(True)" if not isinstance(node, ast.While) else "(False)"
            yield test, "(False)" if not isinstance(node, ast.While) else "(0)"
        case ast.comprehension(ifs=ifs):
            yield from ((each, "(True)") for each in ifs)
        case ast.Compare(left=left, ops=[kind], comparators=[right]):
            for sign in _TURNED[type(kind)]:
                yield node, f"({ast.unparse(left)} {sign} {ast.unparse(right)})"
        case ast.BoolOp(op=kind, values=values):
            sign = " and " if isinstance(kind, ast.And) else " or "
            for index in range(len(values)):
                rest = sign.join(f"({ast.unparse(each)})" for each in values[:index] + values[index + 1 :])
                yield node, f"({rest})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right) if not _is_text(left) and not _is_text(right):
            sign = "-" if isinstance(node.op, ast.Add) else "+"
            yield node, f"({ast.unparse(left)} {sign} ({ast.unparse(right)}))"
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in _OF_SQL:
            yield from ((node, now) for now in _without_each(node))
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield node, "pass"
        case _:
            return


def _without_each(call: ast.Call) -> Iterator[str]:
    """Write a call of SQL without each of its arguments, one at a time."""
    called = ast.unparse(call.func)
    arguments = [ast.unparse(each) for each in (*call.args, *call.keywords)]
    for index in range(len(arguments)):
        rest = ", ".join(arguments[:index] + arguments[index + 1 :])
        if rest or call.func.__class__ is ast.Attribute:
            yield f"{called}({rest})"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def own_tests(path: Path) -> list[Path]:
    """Find the file of tests that a file's name says; none where there is none."""
    package, *rest = path.resolve().relative_to(ROOT).parts
    mirrored = ROOT.joinpath("tests", "unit", package, *rest[1:-1], f"test_{rest[-1]}")
    return [mirrored] if mirrored.exists() else []


def notices(path: Path, source: str, tests: Sequence[Path], seconds: float) -> bool:
    """Run tests in a process where a file has another source; tell whether one fails, or all take longer than that."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = _run(path, source, tests, seconds)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _run(path: Path, source: str, tests: Sequence[Path], seconds: float) -> int:
    """In a process of its own: run tests with a file's other source, its output unseen."""
    signal.alarm(int(seconds) + 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    plain = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, name: str) -> CodeType | None:
        if loader.get_filename(name) == str(path):
            return compile(source, str(path), "exec", dont_inherit=True)
        return plain(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]  # in this process only
    import pytest

    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=no"]
    return int(pytest.main([*options, *map(str, tests)]))


def main() -> int:
    """Print what survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument(
        "--tests", nargs="+", type=Path, default=[], metavar="TEST", help="further tests, for each file"
    )
    parser.add_argument("--lines", default="1-1000000", metavar="FIRST-LAST", help="only what begins on these lines")
    asked = parser.parse_args()
    first, last = (int(each) for each in asked.lines.split("-"))
    for name in _HEAVY:
        importlib.import_module(name)
    survivors = 0
    for path in (each.resolve() for each in asked.paths):
        source = path.read_text(encoding="utf-8")
        tests = [*own_tests(path), *asked.tests]
        begin = time.monotonic()
        if not tests or notices(path, source, tests, 600):
            sys.exit(f"{path}: has no tests, or they are red as it is; name others by --tests")
        seconds = 3 * (time.monotonic() - begin) + _GRACE_SECONDS
        mutants = [each for each in mutants_of(source) if first <= each.line <= last]
        for mutant in mutants:
            if not notices(path, mutant.source, tests, seconds):
                survivors += 1
                print(f"{path.relative_to(ROOT)}:{mutant.line}: {mutant.was}  ->  {mutant.now}", flush=True)
        print(f"{path.relative_to(ROOT)}: {len(mutants)} mutants", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
