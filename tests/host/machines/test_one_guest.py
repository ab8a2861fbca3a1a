"""The processors of a guest, as its kernel sees them."""

from functools import partial

import pytest

from tests.support import micro
from tests.support.serial_shell import SerialShell, with_shell

pytestmark = pytest.mark.guest


def test_a_guest_sees_the_threads_of_its_cores(world):
    image = with_shell(micro.build(), world.root / "disks" / "shell.raw")
    image.chmod(0o444)
    root = world.disk(base=image, base_format="raw")
    spec = world.spec(disks=(root,), vcpus=4, threads_per_core=2)
    shell = world.boot(spec, lambda: SerialShell(world.machines, spec.id, partial(world.check, spec.id)))
    siblings = shell.run("cat /sys/devices/system/cpu/cpu[0-9]/topology/thread_siblings_list").split()
    assert siblings == ["0-1", "0-1", "2-3", "2-3"]
    shell.close()
