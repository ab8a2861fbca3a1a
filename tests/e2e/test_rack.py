"""`ansible/` makes a cloud of two bare machines, by SSH; a guest of it answers; a second run changes nothing; then all goes.

All that operators do, on three machines: `python -m tests.support.rack_story`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import outside_clients, rack_story
from tests.support.booted import CannotBootError
from tests.support.rack import rack
from tests.support.rack_story import CLIENTS, Operator
from tests.support.releases import make_release

pytestmark = [pytest.mark.client(name) for name in CLIENTS]


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """Who has two bare machines and a release."""
    for name in CLIENTS:
        if why := outside_clients.why_missing(name):
            pytest.skip(why)
    made = make_release(tmp_path)
    try:
        with rack(tmp_path, 2) as found:
            yield Operator(found, made)
    except CannotBootError as reason:
        pytest.skip(str(reason))


@pytest.mark.timeout(900)  # it boots two machines and a guest, by emulation, beside other tests
def test_bare_machines_become_a_cloud_and_are_bare_again(operator: Operator) -> None:
    controller, host = operator.rack.servers
    rack_story.refused(replace(operator, controllers=2))
    operator.play("site.yml")
    assert [(name, row["state"]) for name, row in operator.hosts().items()] == [(host.name, "up")]
    assert f"https://{controller.address}:8774" in controller.machine.must("stead", "env")
    guest = rack_story.launch(operator)
    boot = guest.boot()
    assert operator.play("site.yml") == {controller.name: 0, host.name: 0}
    rack_story.lock_out(operator, host)
    assert guest.boot() == boot
    operator.play("uninstall.yml", "--extra-vars=sure=yes")
    assert (rack_story.left_on(controller), rack_story.left_on(host)) == ([], [])
