"""What is taken out of a source, and whether tests that look at it notice."""

import subprocess
import sys

import pytest

from tests.mutants import ROOT, mutants_of, own_tests

CHOICE = ROOT / "controller/stead_controller/placement/choose_host.py"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if a:\n    b = 1\n", ["(True)", "(False)"]),
        ("x = a < b\n", ["(a >= b)", "(a <= b)"]),
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


def test_tests_are_found_by_name():
    assert own_tests(CHOICE) == [ROOT / "tests/unit/controller/placement/test_choose_host.py"]
    assert own_tests(ROOT / "controller/stead_controller/request/transaction.py") == []


def test_a_condition_that_is_tested_leaves_no_survivor():
    lines = CHOICE.read_text(encoding="utf-8").splitlines()
    number = lines.index("    if not fitting:") + 1
    command = [sys.executable, "-m", "tests.mutants", str(CHOICE), f"--lines={number}-{number}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout + done.stderr
    assert done.stdout.endswith(": 3 mutants\n")
