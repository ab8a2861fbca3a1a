"""Half a minute of storm over a rig with real guests: everything that was answered holds, and nothing is left."""

import os
from pathlib import Path

import pytest

from tests.recovery.storm.storm import Plan, weather
from tests.support import box, leaks
from tests.support.shared_models import share_among_clients

SEED = int(os.environ.get("STEAD_STORM_SEED") or 13)
MINUTES = 0.5  # of churn; the rig, the rests and the end come on top

pytestmark = [
    pytest.mark.root,
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.timeout(900),  # a storm on a machine that has other work to do is as long as that allows
]


def test_everything_answered_holds_in_a_storm(tmp_path: Path) -> None:
    box.run_in_another(_storm, tmp_path)


def _storm(folder: Path) -> None:
    share_among_clients()
    before = leaks.take_inventory()
    report = weather(Plan(SEED, MINUTES, hosts=1), folder)
    leaks.assert_nothing_beyond(before, "a storm")
    print(report.text())
    assert not report.violations, "; ".join(report.violations) + "\n" + report.text()  # the first line says what
    assert report.faults.total() >= 3, report.text()
    assert report.acknowledged >= 1, report.text()
    assert report.blocks >= 1, report.text()
