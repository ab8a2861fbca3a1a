"""A small group with a kill of each kind, as `python -m tests.recovery.groups` has one of a thousand instances."""

import os
from pathlib import Path

from tests.recovery.groups.growth import Plan, run

SEED = int(os.environ.get("STEAD_GROUPS_SEED") or 5)


def test_a_group_grows_and_shrinks_while_programs_are_killed(tmp_path: Path) -> None:
    plan = Plan(SEED, instances=20, ended=4, kills=1, away=0.3)
    report = run(plan, tmp_path)
    print(report.text())
    assert not report.violations, "; ".join(report.violations) + "\n" + report.text()  # the first line says what
    assert report.most == plan.instances
    assert report.kills.total() == 4 * plan.kills
    assert set(report.kills) == {"controllers", "serving processes", "parents", "agents' processes"}
