"""`stead upgrade` on one machine, from one commit to the next and back, under a guest that somebody pings."""

from pathlib import Path

import pytest

from tests.support import box, leaks, upgrade_story
from tests.support.postgresql import PROGRAMS


@pytest.mark.timeout(600)
def test_an_upgrade_and_the_way_back_under_a_guest(tmp_path: Path) -> None:
    box.run_in_another(_and_nothing_is_left, tmp_path)


def _and_nothing_is_left(folder: Path) -> None:
    before = leaks.take_inventory()
    away = upgrade_story.live(folder, on_server=bool(PROGRAMS))  # a file, too, where machines have no such server
    assert all(away.values()), "the controller was replaced each time"
    leaks.assert_nothing_beyond(before, "a purged cloud")
