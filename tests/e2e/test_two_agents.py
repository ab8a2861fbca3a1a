"""Two clouds on one machine, each with its own network and libvirt but with one /run: they keep out of each other's VPCs."""

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.support import box
from tests.support.real_cloud import RealCloud, User, qemu_process_of


@pytest.fixture
def neighbour() -> Iterator[ProcessPoolExecutor]:
    """A process beside ours, in a network namespace and with a libvirt of its own, that calls functions."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=box.enter_neighbour) as process:
        yield process


@pytest.mark.timeout(900)  # two clouds and a guest of each, and the shared ones may have to be made first
def test_two_clouds_keep_out_of_each_others_vpcs(
    real_cloud: RealCloud, guest: str, guest_owner: User, neighbour: ProcessPoolExecutor, tmp_path: Path
) -> None:
    vpc_id = guest_owner.describe(guest)["VpcId"]
    assert Path("/run/netns", vpc_id).exists()
    process = qemu_process_of(guest)
    another = RealCloud()
    owner = re.escape(str(real_cloud.settings.agent_dir))
    try:
        # As it is by default: with the same folder of names.
        neighbour.submit(_is_refused, another, rf"VPCs of the agent of {owner}, which runs as .*--netns-dir").result()
        real_cloud.kill(real_cloud.agent)
        try:
            refusal = rf"VPCs of the agent of {owner}, which does not run.*--netns-dir"
            neighbour.submit(_is_refused, another, refusal).result()
        finally:
            real_cloud.up()
        another.netns_dir = str(another.settings.volatile_dir / "netns")
        neighbour.submit(_runs_a_guest, another, tmp_path).result()
    finally:
        neighbour.submit(another.purge).result()
    assert not Path(another.netns_dir).exists()

    assert Path("/run/netns", vpc_id).exists()
    assert qemu_process_of(guest) == process
    assert guest_owner.login(guest).run("cat /var/tmp/word").strip() == "shared"


def _is_refused(cloud: RealCloud, why: str) -> None:
    cloud.prepare()
    done = cloud.stead("up")
    assert done.returncode != 0, done.stdout
    assert re.search(why, done.stderr, re.DOTALL), done.stderr


def _runs_a_guest(cloud: RealCloud, folder: Path) -> None:
    cloud.up()
    user = User(cloud, cloud.new_account(), folder)
    [instance_id] = user.run()
    assert [path.name for path in Path(cloud.netns_dir).iterdir()] == [user.describe(instance_id)["VpcId"]]
    user.login(instance_id)
