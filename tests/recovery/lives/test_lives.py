"""Some lives with a kill of each kind, as `python -m tests.recovery.lives` has thousands of them."""

import os
from pathlib import Path

import pytest

from tests.recovery.lives.lives import Plan, run
from tests.support.shared_models import share_among_clients

SEED = int(os.environ.get("STEAD_LIVES_SEED") or 5)


@pytest.mark.timeout(1200)  # more than it waits for the end: what is out of order then is said
def test_nothing_is_given_twice_oversubscribed_or_left_when_programs_are_killed(tmp_path: Path) -> None:
    share_among_clients()
    plan = Plan(SEED, lives=30, round=30, kills=5, away=0.2)
    report = run(plan, tmp_path)
    print(report.text())
    assert not report.violations, report.failure()
    assert report.lives.launched >= plan.lives
    assert report.kills == {"controllers": 1, "serving processes": 1, "parents": 1, "agents' processes": 2}
    assert [len(each.figures) > 100 for each in report.samples] == [True]
    assert [any(name.endswith("/stead.sqlite") for name in names) for names in report.files] == [True]
