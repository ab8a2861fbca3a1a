"""Debian's own QEMU guest agent in a real guest: it is asked, and is noticed when it hangs. Skipped where it is not installed."""

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from stead_agent.disks.disk_sources import FileSource
from stead_agent.machines.health import MISSED_PINGS, PING_SECONDS, GuestHealth
from stead_agent.machines.interface import Disk, MachineStatus, Power
from tests.support import micro
from tests.support.serial_shell import SerialShell, with_shell

from .conftest import World, wait_for

pytestmark = pytest.mark.guest


def tools(folder: Path, program: Path) -> Path:
    """A file system with a program and the libraries that it needs."""
    files = folder / "tools"
    files.mkdir()
    shutil.copy(program, files / "qemu-ga")
    needed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for word in needed.split():
        if word.startswith("/"):
            shutil.copy(word, files)
    disk = folder / "tools.raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", files, disk, "48M"], check=True)
    return disk


def test_the_agent_of_a_real_guest_is_asked(world: World) -> None:
    program = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("apt-get install qemu-guest-agent")
    disks = world.root / "disks"
    image, extra = with_shell(micro.build(), disks / "shell.raw"), tools(disks, Path(program))
    root = world.disk(base=image, base_format="raw")
    image.chmod(0o444)
    more = Disk("vol-0" + "a" * 16, FileSource(extra), "raw")
    spec = world.spec(disks=(root, more))
    shell = world.boot(spec, lambda: SerialShell(world.machines, spec.id, partial(world.check, spec.id), seconds=300))
    clock, heard = [0.0], []
    health = GuestHealth(world.machines._link.get, lambda _: True, heard.append, now=lambda: clock[0])

    def look() -> int:
        clock[0] += PING_SECONDS
        health.look()
        seen = MachineStatus(spec.id, Power.RUNNING, 1, 0)
        with world.machines.domain(spec.id) as domain:
            return health.complete(seen, domain.ID()).agent_silent_since

    def is_connected() -> bool:
        with world.machines.domain(spec.id) as domain:
            return "state='connected'" in domain.XMLDesc(0)

    for _ in range(MISSED_PINGS):
        assert look() == 0, "there is no agent"
    shell.run("mkdir /tmp/t && mount -t ext4 /dev/vdb /tmp/t")
    channel = shell.run("grep -l guest_agent /sys/class/virtio-ports/*/name").strip().split("/")[-2]
    loader = "/tmp/t/ld-linux-x86-64.so.2 --library-path /tmp/t /tmp/t/qemu-ga"
    shell.run(
        f"{loader} -m virtio-serial -p /dev/{channel} -t /tmp -l /tmp/ga.log >/tmp/ga.out 2>&1 & echo $! >/tmp/ga.pid"
    )
    wait_for(
        is_connected, "the agent has its channel open", 60, explain=lambda: shell.run("cat /tmp/ga.out /tmp/ga.log")
    )
    for _ in range(MISSED_PINGS):
        assert look() == 0
    shell.run("kill -STOP $(cat /tmp/ga.pid)")
    silent = [look() for _ in range(MISSED_PINGS)]
    assert [since > 0 for since in silent] == [False, False, True]
    assert heard == [spec.id]
    shell.run("kill -CONT $(cat /tmp/ga.pid)")
    wait_for(lambda: look() == 0, "it answers again", 60)
    shell.run("kill $(cat /tmp/ga.pid)")
    wait_for(lambda: not is_connected(), "it has ended", 60)
    assert look() == 0
    shell.close()
