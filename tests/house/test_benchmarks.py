"""Benchmarks run by hand: what they take from the rest must still be there when somebody wants their figures."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.checkout import ROOT, complain, name_of, tree_of
from tests.support import benches

_HOMES = tuple(ROOT / folder for folder in ("controller", "agent", "proto", "cli", "."))


def _module(name: str) -> Path | None:
    """Find one of our modules, also one that protoc made; None when it is not ours."""
    for home in _HOMES:
        path = home.joinpath(*name.split("."))
        for found in (path.with_suffix(".py"), path / "__init__.py"):
            if found.is_file():
                return found
    return None


def _names(statements: list[ast.stmt]) -> Iterator[str]:
    """List what a module's statements define, also those under a condition."""
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.TypeAlias(name=ast.Name(id=name)) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.If(body=body, orelse=orelse):
                yield from _names(body + orelse)
            case ast.Try(body=body):
                yield from _names(body)


def test_what_benchmarks_import_is_there() -> None:
    offences = []
    checked = 0
    for path in (ROOT / "tests" / "bench").glob("*.py"):
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ImportFrom) or not node.module or not (module := _module(node.module)):
                continue
            there = set(_names(tree_of(module).body))
            for alias in node.names:
                checked += 1
                if alias.name not in there and not _module(f"{node.module}.{alias.name}"):
                    offences.append(f"{name_of(path)}:{node.lineno}: {node.module} has no {alias.name}")
    assert checked > 100, "nothing was looked at"
    complain("These benchmarks cannot start:", offences)


def test_each_has_a_smallest_size_with_which_a_test_runs_it() -> None:
    """A benchmark that nobody runs for months has then a crash to offer, not a figure."""
    groups = {
        "WITHOUT_HOSTS": "api/test_benches.py",
        "ON_A_HOST": "host/test_benches.py",
        "WITH_GUESTS": "e2e/test_benches.py",
        "IN_A_CLOUD": "e2e/test_cloud_benches.py",
        "WITH_POSTGRESQL": "api/test_postgresql.py",
    }
    run = {name for group in groups for name in getattr(benches, group)}
    there = {path.stem for path in (ROOT / "tests" / "bench").glob("*.py")}
    offences = [f"tests/bench/{name}.py is in no group of tests/support/benches.py" for name in sorted(there - run)]
    offences += [f"tests/support/benches.py: {name} is no benchmark" for name in sorted(run - there)]
    for group, file in groups.items():
        path = ROOT / "tests" / file
        if f'parametrize("name", benches.{group})' not in path.read_text(encoding="utf-8"):
            offences.append(f"{name_of(path)} does not run benches.{group}")
    complain("These benchmarks may have stopped working:", offences)
