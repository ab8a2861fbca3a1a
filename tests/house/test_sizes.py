"""Files and functions that fit into a reader's head."""

import ast

from tests.house.checkout import complain, name_of, nodes_of, python_files

FILE_LINES = 600
FUNCTION_LINES = 60

# file or file::function -> the lines it may have, and why it is better whole.
EXCEPTIONS: dict[str, tuple[int, str]] = {
    "agent/stead_agent/firewall/host_ruleset.py::_bridge_chains": (100, "an nft table that is read from top to bottom"),
    "tests/support/rows.py::launch": (80, "the columns of an instance, all with their good values"),
}


def test_files_are_short() -> None:
    offences = []
    for path in python_files():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        allowed, _ = EXCEPTIONS.get(name_of(path), (FILE_LINES, ""))
        if lines > allowed:
            offences.append(f"{name_of(path)}: {lines} lines, {allowed} allowed")
    complain(
        "A file is one idea; a longer one hides a second idea that deserves a name of its own. Split it:", offences
    )


def test_functions_are_short() -> None:
    offences = []
    for path in python_files():
        if "migrations" in path.parts:  # written by Alembic, read as a list
            continue
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = _lines_of_code(node)
                allowed, _ = EXCEPTIONS.get(f"{name_of(path)}::{node.name}", (FUNCTION_LINES, ""))
                if lines > allowed:
                    offences.append(f"{name_of(path)}:{node.lineno} {node.name}: {lines} lines, {allowed} allowed")
    complain("A function is read at one glance (its docstring is not counted). Give its steps names:", offences)


def _lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = node.body[0]
    docstring = 0
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_exceptions_are_needed() -> None:
    """An exception whose file or function is gone, or has no reason, goes too."""
    offences = []
    for name, (_, reason) in EXCEPTIONS.items():
        file_name, _, function = name.partition("::")
        path = next((path for path in python_files() if name_of(path) == file_name), None)
        names = {node.name for node in nodes_of(path) if isinstance(node, ast.FunctionDef)} if path else set()
        if path is None or (function and function not in names) or len(reason) < 20:
            offences.append(name)
    complain("Each exception names something that exists, and says why:", offences)
