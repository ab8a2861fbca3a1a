"""Start and stop a libvirtd with all its files below its own directory, so that a test can kill it."""

import sys
from pathlib import Path
from urllib.parse import quote

from stead_agent.programs import libvirtd, reaper
from stead_agent.programs.libvirtd import Libvirtd, _answers, _forget_cut_off_starts, _locked, _own
from stead_agent.programs.run import start_daemon
from tests.support import libvirtd_apart
from tests.support.waiting import wait_for


def ensure_running(root: Path) -> Libvirtd:
    """Start the private daemon below `root` unless it runs, and return when it answers.

    Guests' users must have search permission on `root` and the directories above; its socket is
    `root/run/libvirt-sock`, the state of guests' processes is in `root/run/qemu`.
    """
    uri = f"qemu+unix:///system?socket={quote(str(root / 'run' / 'libvirt-sock'))}"
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    with _locked(root / "start.lock"):
        if not _answers(uri):
            wait_for(lambda: _own(root / "libvirtd.pid") is None, "the libvirtd that does not answer ends", 15)
            _forget_cut_off_starts(root / "run" / "qemu")
            script: list[str | Path] = [sys.executable, "-I", "-S", libvirtd_apart.__file__, root, reaper.__file__]
            start_daemon(script, root / "libvirtd.log")
        wait_for(lambda: _answers(uri), f"libvirtd answers at {uri} (see {root / 'libvirtd.log'})", 30)
    return Libvirtd(uri, ours=_own(root / "libvirtd.pid") is not None)


def stop(root: Path) -> None:
    """Stop the daemons below `root`; guests continue to run."""
    libvirtd.stop(root, root / "run")
