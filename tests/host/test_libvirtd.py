"""Libvirt's daemons without systemd: started once, started again when one of them died, and stopped only if ours."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import libvirt
import pytest

from stead_agent.network.namespaces import on_a_thread
from stead_agent.programs import libvirtd

pytestmark = [pytest.mark.root, pytest.mark.libvirt]


@pytest.fixture
def state_dir():
    """A state directory, and no daemon of it left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="stead-test-", dir="/var/tmp"))
    yield folder
    libvirtd.stop(folder)
    shutil.rmtree(folder)


def pid_of(state_dir, name):
    return int((state_dir / f"{name}.pid").read_text())


def in_another_network(state_dir):
    os.unshare(os.CLONE_NEWNET)
    return libvirtd.ensure_running(libvirtd.SYSTEM_URI, state_dir)


def test_the_daemons_run_until_they_are_stopped(state_dir):
    if libvirtd.has_systemd():
        pytest.skip("systemd starts them here")
    found = libvirtd.ensure_running(libvirtd.SYSTEM_URI, state_dir)
    if not found.ours:
        pytest.skip("this machine's own libvirtd runs")
    pids = pid_of(state_dir, "libvirtd"), pid_of(state_dir, "virtlogd")
    assert libvirtd.ensure_running(libvirtd.SYSTEM_URI, state_dir) == found
    assert (pid_of(state_dir, "libvirtd"), pid_of(state_dir, "virtlogd")) == pids
    libvirt.open(found.uri).close()
    with pytest.raises(libvirtd.LibvirtdError, match="another network namespace"):
        on_a_thread(lambda: in_another_network(state_dir))

    os.kill(pids[1], signal.SIGKILL)
    libvirtd._wait_for(lambda: not libvirtd._is_listened_at(libvirtd._LOG_DAEMON_SOCKET), "virtlogd is dead", 60)
    libvirtd.ensure_running(libvirtd.SYSTEM_URI, state_dir)
    assert libvirtd._is_listened_at(libvirtd._LOG_DAEMON_SOCKET)
    assert pid_of(state_dir, "libvirtd") == pids[0]

    os.kill(pids[0], signal.SIGKILL)
    libvirtd._wait_for(lambda: not libvirtd._answers(libvirtd.SYSTEM_URI), "libvirtd is dead", 60)
    assert libvirtd.ensure_running(libvirtd.SYSTEM_URI, state_dir).ours

    elsewhere = state_dir / "another"
    assert not libvirtd.ensure_running(libvirtd.SYSTEM_URI, elsewhere).ours
    libvirtd.stop(elsewhere)
    libvirt.open(found.uri).close()

    libvirtd.stop(state_dir)
    assert not libvirtd._answers(libvirtd.SYSTEM_URI)
    assert not libvirtd._is_listened_at(libvirtd._LOG_DAEMON_SOCKET)
    libvirtd.stop(state_dir)


GUEST = """
<domain type='qemu'>
  <name>stead-test-core</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
</domain>
"""
START_A_GUEST = """
import resource, sys
from pathlib import Path
import libvirt
from stead_agent.programs import libvirtd
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
found = libvirtd.ensure_running(libvirtd.SYSTEM_URI, Path(sys.argv[1]))
assert found.ours
libvirt.open(found.uri).createXML(sys.argv[2]).destroy()
"""


def test_a_guest_starts_where_root_may_not_lift_the_limit_of_core_files(state_dir):
    """As below sudo in a container without CAP_SYS_RESOURCE."""
    if libvirtd._answers(libvirtd.SYSTEM_URI):
        pytest.skip("another libvirtd runs")
    words = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", sys.executable]
    done = subprocess.run(
        [*words, "-c", START_A_GUEST, str(state_dir), GUEST], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + (state_dir / "libvirtd.log").read_text()


def test_nothing_is_started_for_a_daemon_elsewhere(state_dir):
    with pytest.raises(libvirtd.LibvirtdError, match="nothing answers"):
        libvirtd.ensure_running("qemu+unix:///system?socket=/nowhere", state_dir)
