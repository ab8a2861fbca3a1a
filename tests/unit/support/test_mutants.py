"""What is taken out of a source, and whether tests that look at it notice."""

import os
import subprocess
import sys

import pytest

from tests.mutants.__main__ import ROOT, own_tests
from tests.mutants.written import mutants_of

pytestmark = pytest.mark.story

CHOICE = ROOT / "controller/stead_controller/placement/choose_host.py"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if a:\n    b = 1\n", ["(True)", "(False)"]),
        ("x = a < b\n", ["(a >= b)", "(a <= b)"]),
        ("x = a < b == c\n", ["(a >= b == c)", "(a <= b == c)", "(a < b != c)"]),
        ("x = (a or b) == c\n", ["((a or b) != c)", "((b))", "((a))"]),
        ("while a:\n    b()\n", ["(False)", "pass"]),
        ("match a:\n    case 1 if b:\n        c = 1\n", ["(True)"]),
        ("x = a is None\n", ["(a is not None)"]),
        ("x = a and b\n", ["((b))", "((a))"]),
        ("x = not a\n", ["(a)"]),
        ("x = a - b\n", ["(a + (b))"]),
        ("x = 'a' + b\n", []),
        ("x = q.where(a, b)\n", ["q.where(b)", "q.where(a)"]),
        ("raise ValueError\n", ["pass"]),
        ("x = [a for a in b if a]\n", ["(True)"]),
        ("if TYPE_CHECKING:\n    import a\n", []),
    ],
)
def test_what_is_written_otherwise(source, expected):
    assert [mutant.now for mutant in mutants_of(source)] == expected
    for mutant in mutants_of(source):
        compile(mutant.source, "mutant", "exec")


def test_only_the_place_itself_is_changed():
    """Also behind letters of several bytes."""
    [first, _] = mutants_of('x = "ä"; y = a < b  # as it was\n')
    assert (first.line, first.was, first.source) == (1, "a < b", 'x = "ä"; y = (a >= b)  # as it was\n')


def test_other_lines_stay_where_they_are():
    source = "def f():\n    raise ValueError(\n        1,\n    )\nx = q.where(\n    a,\n    b,\n)\ny = 1\n"
    mutants = list(mutants_of(source))
    assert len(mutants) == 3
    assert [each.source.splitlines().index("y = 1") for each in mutants] == [8, 8, 8]
    assert [(each.line, each.last_line) for each in mutants] == [(2, 4), (5, 8), (5, 8)]


def test_tests_are_found_by_name():
    assert own_tests(CHOICE) == [ROOT / "tests/unit/controller/placement/test_choose_host.py"]
    assert own_tests(ROOT / "controller/stead_controller/request/transaction.py") == []


def mutants(*arguments: str, path: str = ""):
    command = [sys.executable, "-m", "tests.mutants", *arguments]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_a_condition_that_is_tested_leaves_no_survivor():
    lines = CHOICE.read_text(encoding="utf-8").splitlines()
    number = lines.index("        if reason is not None:") + 1
    done = mutants(str(CHOICE), f"--lines={number}-{number}")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout + done.stderr
    assert done.stdout.endswith(": 3 mutants, 0 survived, 0 with all imported anew\n")


EXAMPLE = """
from functools import cache

def tested(a, b):
    return a < b

def loops(count):
    while count > 0:
        count = count - 1
    return count

def unseen(a):
    return not a

def unvisited(a):
    return not a

@cache
def at_import(a):
    return 1 if a else 2

LIMIT = at_import(1)
WHOLE = 3 if LIMIT else 4

class Example[T]:
    def method(self, a):
        return [each for each in a if each]
"""
TESTS = """
import example

def test_all(tmp_path):
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "left").touch()
    assert [example.tested(a, 2) for a in (1, 2)] == [True, False]
    assert example.loops(3) == 0
    example.unseen(1)
    assert (example.LIMIT, example.WHOLE) == (1, 3)
    assert example.Example().method([0, 1]) == [1]
"""


def test_what_nobody_notices_is_printed(tmp_path):
    """The loop that has no end is noticed, what runs at import is judged by a new import, and no mutant sees another."""
    example, tests = tmp_path / "example.py", tmp_path / "test_example.py"
    example.write_text(EXAMPLE)
    tests.write_text(TESTS)
    done = mutants(str(example), "--tests", str(tests), path=str(tmp_path))
    name = os.path.relpath(example, ROOT)
    assert done.stdout.splitlines() == [
        f"{name}:13: not a  ->  (a)",
        f"{name}:16: not a  ->  (a)  (no test comes here)",
        f"{name}:20: a  ->  (True)",
        f"{name}:23: LIMIT  ->  (True)",
        f"{name}: 13 mutants, 4 survived, 4 with all imported anew",
    ], done.stdout + done.stderr
    assert done.returncode == 1


def test_red_tests_judge_nothing(tmp_path):
    example, tests = tmp_path / "example.py", tmp_path / "test_example.py"
    example.write_text("x = not 1\n")
    tests.write_text("def test_it():\n    assert 0\n")
    done = mutants(str(example), "--tests", str(tests), path=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("its tests are red as it is; see them with pytest\n")
