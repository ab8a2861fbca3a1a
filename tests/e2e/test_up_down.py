"""`stead up`, `status`, `down` and `down --purge` on a cloud of its own."""

import json
from pathlib import Path

from stead_cli import processes
from tests.support import box, leaks
from tests.support.real_cloud import RealCloud, User, qemu_process_of


def test_up_twice_down_up_again_and_purge(tmp_path: Path) -> None:
    box.run_in_another(_from_first_up_to_purge, tmp_path)


def _from_first_up_to_purge(folder: Path) -> None:
    """The life of a cloud on a machine that never had one, and has nothing of it afterwards."""
    before = leaks.take_picture()
    cloud = RealCloud()
    try:
        _up_is_idempotent(cloud)
        instance_id = _guest_outlives_a_plain_down(cloud, folder)
    finally:
        cloud.purge()
    assert qemu_process_of(instance_id) is None
    cloud.purge()  # twice is once
    leaks.assert_nothing_beyond(before, "a purged cloud")


def _up_is_idempotent(cloud: RealCloud) -> None:
    assert cloud.stead("status").returncode == 1
    cloud.up()
    pids = [processes.find(program) for program in (cloud.controller, cloud.agent)]
    assert all(pids)
    cloud.up()
    assert [processes.find(program) for program in (cloud.controller, cloud.agent)] == pids
    assert json.loads(cloud.stead_well("status", "--output", "json"))["well"]
    assert [host.state for host in cloud.operator.list_hosts()] == ["up"]


def _guest_outlives_a_plain_down(cloud: RealCloud, folder: Path) -> str:
    """Return the id of a guest that runs, after a down and an up again."""
    user = User(cloud, cloud.new_account(), folder)
    [instance_id] = user.run()
    boot = user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id")
    cloud.stead_well("down")
    assert [processes.find(program) for program in (cloud.controller, cloud.agent)] == [None, None]
    process = qemu_process_of(instance_id)
    assert process is not None
    cloud.up()
    assert qemu_process_of(instance_id) == process
    assert user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id") == boot
    return instance_id


def test_secrets_are_for_their_owner_only(real_cloud: RealCloud) -> None:
    """Below the state directory only the CA's certificate, settings and built images may be read by others."""
    for path in real_cloud.state_dir.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o004:
            content = path.read_bytes()
            assert b"PRIVATE KEY" not in content, path
            assert real_cloud.account.secret_access_key.encode() not in content, path
