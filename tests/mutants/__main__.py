"""Which conditions of a file no test notices: each is taken out, one at a time, and the file's tests are run.

    python -m tests.mutants PATH… [--tests TEST…] [--lines FIRST-LAST]

For pure and transactional files: a mutant is in force only in the process of its tests. Those are the ones that its name
says (`unit/controller/resources/test_tags.py` of `controller/stead_controller/resources/tags.py`) and those of `--tests`.
Conditions are made true and false, comparisons turned round and moved by one, parts of `and`, `or` and of SQL's WHERE
dropped, guards of `case` dropped, `raise` and bare calls left out, + and - exchanged. A mutant that loops is noticed.
What survives is printed; the exit code is 1 if anything did. A survivor is a test that is missing, code that is not
needed, or (seldom) another way to write the same.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.mutants.fresh import import_what_all_need, notices
from tests.mutants.warm import RedError, verdicts
from tests.mutants.written import mutants_of

ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENT_SECONDS: Final = 600


def own_tests(path: Path) -> list[Path]:
    """Find the file of tests that a file's name says; none where there is none."""
    if not path.resolve().is_relative_to(ROOT):
        return []
    package, *rest = path.resolve().relative_to(ROOT).parts
    mirrored = ROOT.joinpath("tests", "unit", package, *rest[1:-1], f"test_{rest[-1]}")
    return [mirrored] if mirrored.exists() else []


def survivors(path: Path, tests: Sequence[Path], first: int, last: int) -> int:
    """Print which mutants of a file's lines survive, and return their number.

    Raises:
        RedError: the tests do not pass as it is.
    """
    source, name = path.read_text(encoding="utf-8"), os.path.relpath(path, ROOT)
    mutants = [each for each in mutants_of(source) if first <= each.line <= last]
    unsure, survived = [], 0
    for mutant, verdict in zip(mutants, verdicts(path, source, mutants, tests), strict=False):
        if verdict == "unsure":
            unsure.append(mutant)
        elif verdict != "noticed":
            survived += 1
            print(f"{name}:{mutant}{'  (no test comes here)' if verdict != 'survived' else ''}", flush=True)
    if unsure:
        import_what_all_need()
    begin = time.monotonic()
    if unsure and notices(path, source, tests, _PATIENT_SECONDS):
        raise RedError(path)
    seconds = time.monotonic() - begin
    for mutant in unsure:
        if not notices(path, mutant.source, tests, seconds):
            survived += 1
            print(f"{name}:{mutant}", flush=True)
    print(f"{name}: {len(mutants)} mutants, {survived} survived, {len(unsure)} with all imported anew", flush=True)
    return survived


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
    found = 0
    for path in (each.resolve() for each in asked.paths):
        tests = [*own_tests(path), *asked.tests]
        try:
            found += survivors(path, tests, first, last) if tests else sys.exit(f"{path}: name tests by --tests")
        except RedError:
            sys.exit(f"{path}: its tests are red as it is; see them with pytest")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
