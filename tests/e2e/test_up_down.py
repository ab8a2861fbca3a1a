"""`stead up`, `status`, `down` and `down --purge` on a cloud of their own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead_cli import processes
from tests.support.real_cloud import RealCloud, User, qemu_process_of


@pytest.fixture
def fresh() -> Iterator[RealCloud]:
    """A cloud that was never started."""
    made = RealCloud()
    yield made
    made.purge()


def test_up_twice_down_up_again_and_purge(fresh: RealCloud, tmp_path: Path) -> None:
    assert fresh.stead("status").returncode == 1
    fresh.up()
    pids = [processes.find(program) for program in (fresh.controller, fresh.agent)]
    fresh.up()
    assert [processes.find(program) for program in (fresh.controller, fresh.agent)] == pids
    assert json.loads(fresh.stead_well("status", "--output", "json"))["well"]
    assert [host.state for host in fresh.operator.list_hosts()] == ["up"]

    user = User(fresh, fresh.new_account(), tmp_path)
    [instance_id] = user.run()
    boot = user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id")

    # A plain down leaves the guest, and the next up adopts it as it is.
    fresh.stead_well("down")
    assert [processes.find(program) for program in (fresh.controller, fresh.agent)] == [None, None]
    process = qemu_process_of(instance_id)
    assert process is not None
    fresh.up()
    assert qemu_process_of(instance_id) == process
    assert user.login(instance_id).run("cat /proc/sys/kernel/random/boot_id") == boot

    # A purge ends the guest and leaves nothing; twice is once.
    fresh.purge()
    assert qemu_process_of(instance_id) is None
    fresh.purge()


def test_secrets_are_for_their_owner_only(real_cloud: RealCloud) -> None:
    """Below the state directory only the CA's certificate, settings and built images may be read by others."""
    for path in real_cloud.state_dir.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o004:
            content = path.read_bytes()
            assert b"PRIVATE KEY" not in content, path
            assert real_cloud.account.secret_access_key.encode() not in content, path
