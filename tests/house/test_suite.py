"""`./stead test` runs every folder of tests, one after the other."""

import re

from tests.house.checkout import ROOT
from tests.support.shares import rank_of


def test_every_folder_of_tests_is_run() -> None:
    found = re.search(r"folders=\(([\w ]+)\)", (ROOT / "stead").read_text(encoding="utf-8"))
    assert found, "the launcher names no folders"
    with_tests = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(found[1].split()) == with_tests


def test_what_waits_long_comes_before_what_is_short() -> None:
    order = [rank_of(f"tests/{test}") for test in ("house/test_x.py", "clients/test_x.py", "unit/test_x.py")]
    assert order == sorted(set(order))
