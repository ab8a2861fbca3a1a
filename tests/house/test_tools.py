"""What ruff, mypy, import-linter, shellcheck and protoc say about the checkout.

The tools start together at the first test and are awaited one by one: on two cores that takes half the time.
"""

import filecmp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.checkout import ROOT, our_files, text_of

_BIN = Path(sys.executable).parent
_TYPED = [
    "controller/stead_controller",
    "agent/stead_agent",
    "cli/stead_cli",
    "proto/stead_proto",
    "images",
    "tests/support",
    "tests/house",
    "tests/e2e",
]


def _shell_scripts() -> list[str]:
    """Files that begin with the line of a shell."""
    first_lines = ((path, (text_of(path) or "").split("\n", 1)[0]) for path in our_files())
    return [str(path) for path, line in first_lines if line.startswith("#!") and line.endswith(("sh", "sh -e", "bash"))]


def _commands() -> dict[str, list[str]]:
    # Typed are the folders that have Python files: mypy refuses an empty one.
    typed = [folder for folder in _TYPED if any((ROOT / folder).rglob("*.py"))]
    return {
        "mypy": [str(_BIN / "mypy"), *_notes(), *typed],
        "ruff check": [str(_BIN / "ruff"), "check", "--output-format=concise", "."],
        "ruff format": [str(_BIN / "ruff"), "format", "--check", "."],
        "imports": [str(_BIN / "lint-imports"), "--no-cache"],
        "shellcheck": [str(_BIN / "shellcheck"), "--severity=info", *_shell_scripts()],
    }


def _notes() -> list[str]:
    """Where mypy notes what it found, which spares the next run most of its work: beside the images, for all checkouts.

    It takes nothing from there of a file whose content is another one.
    """
    cache = Path(os.environ.get("STEAD_CACHE_DIR") or "/var/cache/stead")
    return [f"--cache-dir={cache / 'tests' / 'mypy'}"] if os.geteuid() == 0 else []


@pytest.fixture(scope="module")
def tools() -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """All tools, running."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    running = {
        name: subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name, command in _commands().items()
    }
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ("ruff check", "one style and no known traps; exceptions stand in pyproject.toml with a reason"),
        ("ruff format", "nobody argues about layout: run `ruff format .`"),
        ("imports", "who may import whom is what keeps parts replaceable (contracts in pyproject.toml)"),
        ("shellcheck", "scripts that run as root or inside a guest must survive odd file names and unset variables"),
        (
            "mypy",
            "a type error is found before any test runs; strict, since a hole in one file is a hole in its callers",
        ),
    ],
)
def test_tool_is_content(tools: dict[str, "subprocess.Popen[str]"], tool: str, reason: str) -> None:
    output, _ = tools[tool].communicate(timeout=280)
    assert tools[tool].returncode == 0, f"{tool} complains ({reason}):\n{output[-8000:]}"


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    """What protoc makes of the .proto files is what is committed; else: python -m stead_proto.generate."""
    from stead_proto import generate

    generate.generate(tmp_path)
    committed = ROOT / "proto"
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.py*"))
    there = sorted(
        path.relative_to(committed) for path in committed.rglob("*_pb2*.py*") if "__pycache__" not in path.parts
    )
    assert made == there, "a .proto file came or went: run python -m stead_proto.generate and commit what it writes"
    _, different, unreadable = filecmp.cmpfiles(tmp_path, committed, [str(path) for path in made], shallow=False)
    assert not different + unreadable, f"run python -m stead_proto.generate and commit: {different + unreadable}"
